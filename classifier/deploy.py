"""Deployment: the files of a Space, chosen by what its app imports, shown first and then uploaded in one commit."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError

import classifier

from .errors import ClassifierError
from .folder import CARD, EMBEDDED, WEIGHTS
from .hub import TEMPLATES
from .hub_errors import check_name, check_token, explained

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent

#: Files that the Hub keeps in a Space by itself.
KEPT = frozenset({".gitattributes"})


@dataclass(frozen=True)
class SpacePlan:
    """What a Space is to be: everything that `apply` sends.

    Attributes:
        space: Name of the Space, owner/name.
        files: Path in the Space to content.
        variables: Public settings, by name.
        secrets: Names of secrets; their values are read from the environment when the plan is applied.
        hardware: Flavour of the machine, such as ``"cpu-basic"`` or ``"zero-a10g"``; left as it is if None.
        private: Whether a new Space is private.
        without: Variables that the Space must not have any more.
    """

    space: str
    files: Mapping[str, bytes]
    variables: Mapping[str, str]
    secrets: Sequence[str] = ()
    hardware: str | None = None
    private: bool | None = None
    without: Sequence[str] = ()


def plan_app(
    space: str,
    model: str | None = None,
    *,
    revision: str | None = None,
    variables: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    hardware: str | None = None,
    private: bool | None = None,
) -> SpacePlan:
    """Plan the app's Space. It serves the model at the commit that the revision names now.

    Args:
        space: Name of the Space, owner/name.
        model: Name of the model's repository, owner/name; the embedded model if None.
        revision: Commit, tag or branch of the model; its default branch if None.
        variables: Further variables.
        secrets: Names of secrets.
        hardware: Flavour of the machine.
        private: Whether a new Space is private.

    Raises:
        ClassifierError: A name is wrong, there is no such model, or this is not a checkout with app.py.
    """
    check_name(space)
    named, lines, of_model = "the one that comes with the package", [], {}
    if model is not None:
        check_name(model)
        with explained(f"find {model}"):
            info = HfApi().model_info(model, revision=revision)
        named = f"[{model}](https://huggingface.co/{model}/tree/{info.sha}), at commit `{info.sha}`"
        of_model = {"MODEL_ID": model, "MODEL_REVISION": str(info.sha)}
        lines.append(f"models:\n  - {model}\n")
        if not info.private:  # the build of a Space cannot read private models
            wanted = sorted(sibling.rfilename for sibling in info.siblings or () if _served(sibling.rfilename))
            lines.append(f"preload_from_hub:\n  - {model} {','.join(wanted)} {info.sha}\n")
    readme = (TEMPLATES / "app_space.md").read_text(encoding="utf-8")
    readme = readme.format(gradio=version("gradio"), model=named)
    readme = readme.replace("license: apache-2.0\n", "".join(["license: apache-2.0\n", *lines]))
    return SpacePlan(
        space,
        {
            **_sources([ROOT / "app.py"]),
            "requirements.txt": _read(ROOT / "requirements.txt"),
            CARD: readme.encode(),
        },
        {**of_model, **(variables or {})},
        secrets,
        hardware,
        private,
        without=() if model else ("MODEL_ID", "MODEL_REVISION"),  # of a model that it served before
    )


def plan_training(
    space: str,
    *,
    variables: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    hardware: str | None = None,
    private: bool | None = None,
) -> SpacePlan:
    """Plan the training Space.

    Args:
        space: Name of the Space, owner/name.
        variables: Variables.
        secrets: Names of secrets.
        hardware: Flavour of the machine.
        private: Whether a new Space is private.

    Raises:
        ClassifierError: The name is wrong, or this is not a checkout with train_space.py.
    """
    check_name(space)
    readme = (TEMPLATES / "training_space.md").read_text(encoding="utf-8").format(gradio=version("gradio"))
    return SpacePlan(
        space, {**training_files(), CARD: readme.encode()}, dict(variables or {}), secrets, hardware, private
    )


def training_files() -> dict[str, bytes]:
    """All that training needs on another machine: the script, the package and the requirements of both halves."""
    requirements = _read(ROOT / "requirements.txt") + _read(ROOT / "requirements-train.txt")
    messages = ROOT / "examples" / "data"
    # Training runs as `python -m classifier train`, so the command line is an entry, too.
    entries = [ROOT / "train_space.py", PACKAGE / "__main__.py"]
    return {**_sources(entries, TEMPLATES, messages), "requirements.txt": requirements}


def describe(plan: SpacePlan) -> str:
    """What applying the plan would do, for people. Values of secrets are not part of a plan."""
    total = sum(map(len, plan.files.values()))
    lines = [f"Space {plan.space}: {len(plan.files)} files, {total / 1e6:.1f} MB"]
    lines += [f"  {len(content):>12,}  {path}" for path, content in sorted(plan.files.items())]
    lines += [f"variable {name}={value}" for name, value in plan.variables.items()]
    lines += [f"secret {name}, from the environment" for name in plan.secrets]
    lines += [f"hardware {plan.hardware}"] if plan.hardware else []
    lines += ["private, if it is new"] if plan.private else []
    front_matter = plan.files[CARD].decode().split("---")[1].strip()
    return "\n".join([*lines, f"{CARD} begins with", *(f"  {line}" for line in front_matter.splitlines())])


def apply(plan: SpacePlan, *, token: str | None = None) -> CommitInfo:
    """Create or update the Space: settings first, so that its first start has them, then all files in one commit.

    Files that the plan does not name are removed from the Space.

    Args:
        plan: The plan.
        token: A Hub token with write access; that of the environment or the login if None.

    Raises:
        ClassifierError: A secret is not set in the environment, no token may write, or the Hub refuses.
    """
    values = {name: os.environ.get(name) for name in plan.secrets}
    missing = sorted(name for name, value in values.items() if not value)
    if missing:
        raise ClassifierError(f"The secret {', '.join(missing)} is not set in the environment; set it and run again.")
    api = HfApi(token=token)
    with explained(f"deploy to {plan.space}"):
        check_token(api)
        api.create_repo(plan.space, repo_type="space", space_sdk="gradio", private=plan.private, exist_ok=True)
        head = api.space_info(plan.space)
        for name, value in plan.variables.items():
            api.add_space_variable(plan.space, name, value)
        for name in api.get_space_variables(plan.space).keys() & set(plan.without):
            api.delete_space_variable(plan.space, name)
        for name, secret in values.items():
            api.add_space_secret(plan.space, name, str(secret))
        stale = {sibling.rfilename for sibling in head.siblings or ()} - plan.files.keys() - KEPT
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in plan.files.items()
        ]
        operations += [CommitOperationDelete(path_in_repo=path) for path in sorted(stale)]
        commit = api.create_commit(
            plan.space, operations, commit_message="Deploy", repo_type="space", parent_commit=head.sha
        )
        if plan.hardware is not None:
            api.request_space_hardware(plan.space, plan.hardware)  # type: ignore[arg-type]  # any flavour's name
    return commit


def existing_files(space: str) -> frozenset[str]:
    """Paths in a Space as it is now; none if there is no such Space."""
    with explained(f"look at {space}"):
        try:
            info = HfApi().space_info(space)
        except RepositoryNotFoundError:
            return frozenset()
    return frozenset(sibling.rfilename for sibling in info.siblings or ()) - KEPT


def _served(name: str) -> bool:
    """Whether serving reads this file of a model."""
    return name.endswith((".json", ".onnx"))


def _sources(entries: Sequence[Path], *folders: Path) -> dict[str, bytes]:
    """Scripts, the modules of ours that they need, all files of the folders, and the package's other data."""
    paths = _modules(entries)
    for folder in (PACKAGE / "policies", EMBEDDED, *folders):
        paths |= {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    paths |= {path for path in PACKAGE.iterdir() if path.suffix in (".css", ".js", ".json")}
    # A Space serves the embedded model; it has no use for the weights that others train on.
    return {path.relative_to(ROOT).as_posix(): _read(path) for path in sorted(paths - {EMBEDDED / WEIGHTS})}


def _modules(entries: Sequence[Path]) -> set[Path]:
    """Entry scripts and all of our modules that they import, directly, through others or inside functions."""
    found: set[Path] = set()
    pending = [*entries, PACKAGE / "__init__.py"]
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(_WithoutTypes().visit(ast.parse(_read(path)))):
            pending += [module for module in _imported(node) if module.is_file()]
    return found


class _WithoutTypes(ast.NodeTransformer):
    """Leaves out imports that only a type checker runs."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


def _imported(node: ast.AST) -> Iterator[Path]:
    """The files of ours that a statement may import."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        module = ".".join(filter(None, ["classifier" if node.level else "", node.module]))
        names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
    else:
        return
    for name in names:
        first, _, rest = name.partition(".")
        if first != "classifier":
            yield ROOT / f"{first}.py"
        elif rest:
            # A public name of the package stands for the module that it comes from.
            yield PACKAGE / f"{classifier._HOMES.get(rest, rest.split('.')[0])}.py"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ClassifierError(
            f"There is no {path.name} beside the package; run deploy in a checkout of the project."
        ) from None
