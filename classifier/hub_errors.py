"""What can go wrong with the Hub, each said in one sentence: what was tried, what is wrong, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .errors import ClassifierError

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token of https://huggingface.co/settings/tokens"


class HubUnreachable(ClassifierError):
    """The Hub did not answer, or said that it cannot now. Asking later may help."""


def check_name(repo: str) -> None:
    """Make sure that a repository is named owner/name; raises ClassifierError when it isn't."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ClassifierError(f"{repo!r} is not the name of a Hub repository; expected owner/name.")


def check_token(api: HfApi) -> str:
    """Make sure that there is a token and that it may write.

    Returns:
        Name of the account.

    Raises:
        ClassifierError: There is none, or it is read-only.
    """
    try:
        account = api.whoami()
    except LocalTokenNotFoundError:
        raise ClassifierError(f"There is no Hub token; {LOG_IN} with write access.") from None
    # Fine-grained and OAuth tokens name no such role; what they may do shows when they write.
    if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise ClassifierError(f"The Hub token is read-only; {LOG_IN} with write access.")
    return str(account["name"])


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn failures of the Hub's client within the block into ClassifierError, one clear sentence each.

    Args:
        action: What was tried, such as ``"push to owner/name"``.
    """
    try:
        yield
    except ClassifierError:
        raise
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise _sentence(error, action) from error


def _sentence(error: BaseException, action: str) -> ClassifierError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (httpx2.TransportError, OfflineModeIsEnabled)):
        if isinstance(cause, HfHubHTTPError) and getattr(cause, "response", None) is not None:
            return _refusal(cause, action)
        cause = cause.__cause__
    if isinstance(cause, OfflineModeIsEnabled):
        return HubUnreachable(f"Could not {action}: HF_HUB_OFFLINE is set, and the files are not all in the cache.")
    if cause is not None:
        return HubUnreachable(
            f"Could not {action}: the Hub cannot be reached, or cut the connection. "
            "Check the network and run it again; whole files that have arrived are kept."
        )
    return ClassifierError(f"Could not {action}: {error}. Run it again; whole files that have arrived are kept.")


def _refusal(error: HfHubHTTPError, action: str) -> ClassifierError:
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return ClassifierError(f"Could not {action}: access must be granted first; ask for it on the model's page.")
    if isinstance(error, RevisionNotFoundError):
        return ClassifierError(f"Could not {action}: the repository has no such revision; check branch, tag or commit.")
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return ClassifierError(
            f"Could not {action}: there is no such repository, or it is private; check its name, or {LOG_IN}."
        )
    if status == 429 or status >= 500:
        wait = error.response.headers.get("Retry-After")
        when = f"in {wait} seconds" if wait else "in some minutes"
        fault = "asks for fewer requests" if status == 429 else "has a fault of its own"
        return HubUnreachable(f"Could not {action}: the Hub {fault} ({status}); run it again {when}.")
    known = {
        401: f"the Hub does not accept the token; {LOG_IN}",
        402: "the Hub asks for a paid plan for this; see https://huggingface.co/pricing",
        403: f"the token may not do this; {LOG_IN} with write access to it",
        409: "someone else changed the repository at the same time; run it again",
        412: "someone else changed the repository at the same time; run it again",
    }
    return ClassifierError(f"Could not {action}: {known.get(status, error.server_message or f'status {status}')}.")
