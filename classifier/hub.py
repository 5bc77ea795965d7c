"""The Hub: model folders are pushed to it and pulled from it, whole, pinned to a commit and verified."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    get_cached_repo_tree,
    snapshot_download,
)
from huggingface_hub.errors import CachedRepoTreeNotFoundError, OfflineModeIsEnabled, RevisionResolutionError

from . import __version__
from .card import write_card
from .errors import ClassifierError
from .folder import FILES, WEIGHTS, ModelFolder
from .hub_errors import HubUnreachable, check_name, check_token, explained
from .predict import Classifier

#: What makes a pushed model run as an Inference Endpoint. Never pulled: a model folder holds no code.
ENDPOINT_FILES = ("handler.py", "requirements.txt")
TEMPLATES = Path(__file__).parent / "templates"

#: Endings of files that can run code when they are read.
PICKLES = (".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth")

#: Seconds to wait for the Hub to name a commit before it counts as out of reach.
TIMEOUT = 10.0


def push(
    folder: str | Path,
    repo: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    license: str | None = None,
    notes: str | Path | None = None,
    token: str | None = None,
) -> CommitInfo:
    """Upload a model folder in one commit; files that have not changed are not sent again.

    The model card is written from the folder's own report first. Beside the folder go a handler and its
    requirements, which let the repository run as an Inference Endpoint.

    Args:
        folder: A model folder with weights.
        repo: Name of the repository, owner/name; made if it is not there.
        private: Whether a new repository is private; the account's default if None.
        revision: Branch to commit to, made if it is not there; the default branch if None.
        message: Summary of the commit.
        license: The licence's identifier on the Hub, such as ``"apache-2.0"``; left out of the card if None.
        notes: Markdown file for the card: what its report doesn't know, such as where the labels come from.
        token: A Hub token with write access; that of the environment or the login if None.

    Returns:
        The commit: `repo_url`, `commit_url` and `oid`.

    Raises:
        ClassifierError: The folder cannot be served, the notes cannot be read, there is no token that may
            write, or the Hub refuses.
        HubUnreachable: The Hub does not answer.
    """
    model = ModelFolder.read(folder)
    model.onnx_file()
    if not (model.path / WEIGHTS).is_file():
        raise ClassifierError(
            f"The model folder {str(folder)!r} has no {WEIGHTS}, which others need to train on; "
            "push a folder that `train` wrote."
        )
    remarks = "" if notes is None else _text(notes)
    check_name(repo)
    api = HfApi(token=token, library_name="classifier", library_version=__version__)
    with explained(f"push to {repo}"):
        check_token(api)
        write_card(model, repo, license, remarks)
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        head = api.model_info(repo, revision=revision)
        files = {name: model.path / name for name in FILES if (model.path / name).is_file()}
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
            for name, path in {**files, **{name: TEMPLATES / "endpoint" / name for name in ENDPOINT_FILES}}.items()
        ]
        stale = {sibling.rfilename for sibling in head.siblings or ()} & set(FILES) - files.keys()
        operations += [CommitOperationDelete(path_in_repo=name) for name in sorted(stale)]
        return api.create_commit(
            repo,
            operations,
            commit_message=message or f"Push the {model.tasks.name} model",
            revision=revision,
            parent_commit=head.sha,
        )


def pull(repo: str, revision: str | None = None, *, weights: bool = True) -> tuple[Path, str]:
    """Download a model folder into the Hub's cache and verify it. A cached commit needs no network.

    Args:
        repo: Name of the repository, owner/name.
        revision: Commit, tag or branch; the default branch if None. Only a commit always means the same files.
        weights: Whether to fetch the weights for training, too; serving needs only the ONNX file.

    Returns:
        The folder and the commit that it holds.

    Raises:
        ClassifierError: There is no such repository or revision, it holds pickles or a newer format,
            or a file is not what the Hub's listing says.
        HubUnreachable: The Hub does not answer; a cached copy is not taken in its place, unless
            HF_HUB_OFFLINE=1 asks for it.
    """
    check_name(repo)
    wanted = [name for name in FILES if weights or name != WEIGHTS]
    with explained(f"pull {repo}"):
        commit = _named_commit(repo, revision)
        path = Path(snapshot_download(repo, revision=revision, allow_patterns=wanted, etag_timeout=TIMEOUT))
        # For a branch the client takes an older cached copy when the Hub fails half-way.
        if path.name != commit:
            raise HubUnreachable(f"{repo} changed, or the Hub stopped answering, while it was read; pull again.")
        _verify(path, repo, commit)
    ModelFolder.read(path)
    return path, commit


def model_folder(name: str, revision: str | None = None) -> Path:
    """The model folder of that name on this machine, or that repository of the Hub, pulled; raises as `pull`."""
    return Path(name) if Path(name).is_dir() else pull(name, revision)[0]


def cached_commit(repo: str, revision: str | None = None) -> str | None:
    """The commit that a branch or tag named when it was last pulled; None if it never was."""
    try:
        return str(HfApi().resolve_revision(repo, revision=revision, local_files_only=True).resolved)
    except RevisionResolutionError:
        return None


def load_for_app(model: str | None = None, revision: str | None = None) -> tuple[Classifier, str]:
    """Load what an app was asked to serve; while the Hub is out of reach, the next best that is at hand.

    That is the cached copy of the same model, or the model that comes with the package. Mistakes, such as
    a repository that doesn't exist, are not bridged.

    Args:
        model: A model folder, the name of a Hub repository, or None for the embedded model.
        revision: Commit, tag or branch of a Hub repository.

    Returns:
        The classifier, and a sentence that says why another model than the one asked for answers; empty
        if it does not.

    Raises:
        ClassifierError: The model does not exist or cannot be used.
    """
    if model is None:
        return Classifier.load(), ""
    try:
        return Classifier.load(model, revision=revision), ""
    except HubUnreachable:
        return _without_hub(model, revision)


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ClassifierError(f"The notes {str(path)!r} cannot be read as text: {error}.") from None


def _without_hub(model: str, revision: str | None) -> tuple[Classifier, str]:
    commit = cached_commit(model, revision)
    reason = f"The Hub cannot be reached now, and no copy of {model} is cached"
    if commit is not None:
        try:
            classifier = Classifier.load(model, revision=commit)
            return (
                classifier,
                f"The Hub cannot be reached now: the cached copy of {model} answers (commit {commit[:7]}).",
            )
        except ClassifierError as error:
            reason = f"The Hub cannot be reached now, and the cached copy of {model} cannot be used ({error})"
    return Classifier.load(), f"{reason}: the embedded model answers in its place."


def _named_commit(repo: str, revision: str | None) -> str:
    """The commit that a branch or tag names, asked of the Hub, or of the cache in offline mode."""
    if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        return str(HfApi().model_info(repo, revision=revision, timeout=TIMEOUT).sha)
    except OfflineModeIsEnabled:
        commit = cached_commit(repo, revision)
        if commit is None:
            raise
        return commit


def _verify(path: Path, repo: str, commit: str) -> None:
    """Check every file against the git object ids of the Hub's listing, which the client keeps beside the files."""
    try:
        listing = {entry.path: entry.blob_id for entry in get_cached_repo_tree(repo, revision=commit)}
    except CachedRepoTreeNotFoundError:
        raise HubUnreachable(
            f"The cached copy of {repo} has no listing to verify it with; connect to the Hub once and pull again."
        ) from None
    for name in sorted(listing):
        if name.endswith(PICKLES):
            raise ClassifierError(
                f"{repo} holds {name}, a pickle, which can run code when it is read. A model folder holds only "
                "safetensors, ONNX and JSON; ask its owner to push such a folder."
            )
    for name in FILES:
        file = path / name
        if not file.is_file():
            continue
        if listing.get(name) not in _git_ids(file):
            blob = file.resolve()
            file.unlink()
            blob.unlink(missing_ok=True)
            raise ClassifierError(f"{name} of {repo} does not have the Hub's checksum and was removed; pull again.")
        if name == WEIGHTS:
            _check_safetensors(file, repo)


def _git_ids(file: Path) -> tuple[str, str]:
    """Git's object id of the content, and of the LFS pointer that stands for it when it is large."""
    size = file.stat().st_size
    own, content = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            own.update(chunk)
            content.update(chunk)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{content.hexdigest()}\nsize {size}\n".encode()
    return own.hexdigest(), hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()


def _check_safetensors(file: Path, repo: str) -> None:
    """A pickle under this name must not reach a loader that looks at the content."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            json.loads(stream.read(min(length, file.stat().st_size)))
        except ValueError:
            raise ClassifierError(
                f"{WEIGHTS} of {repo} is not in the safetensors format; ask its owner to push the model again."
            ) from None
