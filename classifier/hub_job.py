"""Training as a Job of the Hub: code, settings and data go to a private repository, the Job trains and pushes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, JobInfo, Volume, get_token

from .deploy import training_files
from .errors import ClassifierError
from .hub_errors import check_name, check_token, explained
from .settings import TrainSettings

#: Where the Job finds the repository.
MOUNT = "/job"

TIMEOUT = "6h"


def submit(
    flavor: str, values: Mapping[str, Any], repo: str, *, private: bool | None = None, license: str | None = None
) -> None:
    """Submit a training Job and follow its log, on stderr, to its end.

    The files of the Job stay in the private data set repository ``<repo>-job``.

    Args:
        flavor: Hardware, such as ``"t4-small"``.
        values: Settings of training; local files that they name are uploaded.
        repo: Repository that the Job pushes the model to, owner/name.
        private: Whether that is private, if it is new.
        license: Licence for the model card.

    Raises:
        ClassifierError: Settings are wrong, no token may write, the Hub refuses, or the Job failed.
    """
    check_name(repo)
    packed, files = _packed(values)
    files = {**training_files(), **files, "settings.json": json.dumps(packed, indent=2).encode()}
    api = HfApi()
    with explained(f"submit a Job for {repo}"):
        check_token(api)
        source = f"{repo}-job"
        api.create_repo(source, repo_type="dataset", private=True, exist_ok=True)
        commit = api.create_commit(
            source,
            [CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in files.items()],
            commit_message="Files of a training Job",
            repo_type="dataset",
        )
        arguments = ["--headless", "--config", f"{MOUNT}/settings.json", "--folder", "/tmp/run", "--push", repo]
        arguments += ["--private"] if private else []
        arguments += ["--license", license] if license else []
        job = api.run_uv_job(
            "python",
            script_args=["-m", "train_space", *arguments],
            dependencies=_requirements(files["requirements.txt"]),
            env={"PYTHONPATH": MOUNT},
            secrets={"HF_TOKEN": get_token()},
            flavor=flavor,
            timeout=TIMEOUT,
            volumes=[Volume(type="dataset", source=source, revision=commit.oid, mount_path=MOUNT)],
        )
        print(f"Job {job.id} on {flavor}: {job.url}", file=sys.stderr)
        _follow(api, job, repo)


def _packed(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Settings as the Job sees them, and the local files that they name, by their path in the repository."""
    settings = TrainSettings.build(values, {"out": "model"})
    packed: dict[str, Any] = json.loads(settings.model_dump_json())
    files: dict[str, bytes] = {}

    local = [name for key in ("teachers", "unlabelled") for name in packed[key] if Path(name).exists()]
    if local:
        raise ClassifierError(
            f"A Job gets no local teachers or unlabelled messages ({', '.join(local)}); push them to the Hub and give "
            "their names, or train here with --headless."
        )

    def pack(name: str) -> str:
        path = Path(name)
        if path.is_file():
            target = f"data/{len(files)}/{path.name}"
            files[target] = path.read_bytes()
        elif path.is_dir():
            target = f"data/{len(files)}/{path.name}"
            files.update({f"{target}/{file.name}": file.read_bytes() for file in path.iterdir() if file.is_file()})
        else:
            return name
        return f"{MOUNT}/{target}"

    for source in (*packed["data"], *packed["aux"]):
        source["path"] = pack(source["path"])
    for key in ("tasks", "base", "validation", "dev"):
        if packed[key] is not None:
            packed[key] = pack(packed[key])
    return packed, files


def _requirements(text: bytes) -> list[str]:
    lines = (line.split("#")[0].strip() for line in text.decode().splitlines())
    return [line for line in lines if line]


def _follow(api: HfApi, job: JobInfo, repo: str) -> None:
    for line in api.fetch_job_logs(job_id=job.id, follow=True):
        print(line, file=sys.stderr)
    status = api.inspect_job(job_id=job.id).status
    if status.stage != "COMPLETED":
        raise ClassifierError(f"The Job ended as {status.stage}: {status.message or 'see its log'} ({job.url}).")
    print(f"Pushed to {api.endpoint}/{repo}.", file=sys.stderr)
