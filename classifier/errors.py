"""The one error that is shown to the user as it stands."""


class ClassifierError(ValueError):
    """A mistake that the user can mend: what was given, what was expected, what to do.

    Interfaces translate it once: the page into a notice, HTTP into a 4xx answer, the command line
    into exit status 2. Every other exception is a defect of ours and is logged instead of shown.
    """
