"""A small Hub on the loopback interface: real HTTP, real commits, real bytes, and faults on demand.

It answers the requests that the huggingface_hub client makes to create repositories, upload through LFS,
commit, list and download, and those to set up Spaces and run Jobs. State lives in memory.
`python -m tests.loopback_hub` serves it until interrupted, to try the commands without the real one.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

#: Stored as LFS objects, by ending, as the Hub's first .gitattributes says for new repositories.
LFS_ENDINGS = (".safetensors", ".onnx", ".bin")
REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
KIND = r"(?P<kind>model|space|dataset)s"


def pointer(data: bytes) -> bytes:
    """The LFS pointer that git keeps in place of a large file."""
    sha = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(data)}\n".encode()


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repo:
    """Commits are snapshots: commit id to path to content. Branches name commits."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    settings: dict = field(default_factory=lambda: {"variables": {}, "secrets": {}, "hardware": None})

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        content = repr((self.branches.get(branch), sorted(files.items()), message)).encode()
        oid = hashlib.sha1(content).hexdigest()
        self.commits[oid], self.branches[branch], self.messages[oid] = files, oid, message
        return oid

    def resolve(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)


@dataclass
class Fault:
    """What happens to the next `times` requests that match, instead of their answer."""

    method: str
    path: str
    status: int | None  # None: the connection is cut in the middle of the body
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        self.status, self.message, self.code = status, message, code


class LoopbackHub:
    """Use as a context manager; `url` is the endpoint, `tokens` maps tokens to (user, role)."""

    def __init__(self, port: int = 0) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.tokens = {"hf_write": ("ann", "write"), "hf_read": ("ann", "read")}
        self.faults: list[Fault] = []
        self.altered: dict[str, bytes] = {}  # path to what is sent in place of the content
        self.requests: list[str] = []
        self.up = True
        self.jobs: dict[str, dict] = {}
        self.dollars_per_hour = {"cpu-basic": 0.0, "t4-small": 0.6, "l4x1": 1.2}  # made up
        self.job_says, self.job_ends_as = ["training", "done"], "COMPLETED"
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Go out of reach: open connections are cut, new ones refused."""
        self.up = False
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: object, token: str = "hf_write") -> dict[str, str]:
        """The environment of a process whose client talks to this Hub, with a home folder of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
        return {**kept, **own}

    def fail(self, method: str, path: str, status: int | None, times: int = 1, **headers: str) -> None:
        self.faults.append(Fault(method, path, status, times, {k.replace("_", "-"): v for k, v in headers.items()}))

    def files(self, repo: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """Content of a revision, without what the Hub itself puts there."""
        found = self.repos[kind, repo]
        return {path: data for path, data in found.commits[found.resolve(revision)].items() if path != ".gitattributes"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client has gone
            self.close_connection = True

    def _serve(self) -> None:
        if not self.hub.up:
            return self._hang_up()
        path = urlsplit(self.path).path
        fault = self._fault(path)
        self.cut = fault is not None and fault.status is None
        length = int(self.headers.get("Content-Length") or 0)
        if self.cut and self.command in ("PUT", "POST"):
            self.rfile.read(length // 2)
            return self._hang_up()
        self.body = (
            self._chunked() if "chunked" in self.headers.get("Transfer-Encoding", "") else self.rfile.read(length)
        )
        try:
            if fault is not None and fault.status is not None:
                return self._answer({"error": "asked for by the test"}, fault.status, fault.headers)
            with self.hub.lock:
                self.hub.requests.append(f"{self.command} {path}")
                for method, pattern, answer in ROUTES:
                    match = re.fullmatch(pattern, path)
                    if match and self.command in method:
                        args = {name: unquote(value) for name, value in match.groupdict().items()}
                        return answer(self, **args)
            raise Refusal(404, f"no such endpoint {self.command} {path}")
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message, **({"X-Error-Code": refusal.code} if refusal.code else {})}
            self._answer({"error": refusal.message}, refusal.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _fault(self, path: str) -> Fault | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.times > 0 and self.command == fault.method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def _chunked(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, data: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        fixed = {"Content-Length": str(len(content)), "Content-Type": "application/json"}
        for name, value in {**fixed, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self._hang_up()
        self.wfile.write(content)

    def _user(self, write: bool = False) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        user, role = self.hub.tokens.get(token, (None, None))
        if write and user is None:
            raise Refusal(401, "Authentication is required")
        if write and role != "write":
            raise Refusal(403, "Your token has no write access")
        return user

    def _repo(self, kind: str, repo: str, write: bool = False) -> Repo:
        user = self._user(write)
        found = self.hub.repos.get((kind, repo))
        if found is None or (found.private and user != repo.split("/")[0]):
            raise Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and user != repo.split("/")[0]:
            raise Refusal(403, f"You have no write access to {repo}")
        return found

    def _commit(self, repo: Repo, revision: str) -> str:
        oid = repo.resolve(revision)
        if oid is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid

    def whoami(self) -> None:
        user = self._user()
        if user is None:
            raise Refusal(401, "Authentication is required")
        role = self.hub.tokens[self.headers["Authorization"].removeprefix("Bearer ")][1]
        self._answer({"type": "user", "name": user, "auth": {"type": "access_token", "accessToken": {"role": role}}})

    def create(self) -> None:
        data, user = json.loads(self.body), self._user(write=True)
        kind, name = data.get("type", "model"), f"{data.get('organization') or user}/{data['name']}"
        if name.split("/")[0] != user:
            raise Refusal(
                403, f"You don't have the rights to create a {kind} under the namespace {data['organization']}"
            )
        prefix = "" if kind == "model" else f"{kind}s/"
        answer = {"url": f"{self.hub.url}/{prefix}{name}"}
        if (kind, name) in self.hub.repos:
            return self._answer({**answer, "error": "You already created this repo"}, 409)
        repo = self.hub.repos[kind, name] = Repo(private=data.get("visibility") == "private")
        attributes = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS_ENDINGS)
        repo.commit("main", {".gitattributes": attributes.encode()}, "initial commit")
        repo.settings["hardware"] = data.get("hardware")
        self._answer(answer)

    def branch(self, kind: str, repo: str, name: str) -> None:
        found = self._repo(kind, repo, write=True)
        if name in found.branches:
            raise Refusal(409, f"Reference already exists: {name}")
        found.branches[name] = found.branches["main"]
        self._answer({})

    def info(self, kind: str, repo: str, revision: str = "main") -> None:
        found = self._repo(kind, repo)
        oid = self._commit(found, revision)
        files = [{"rfilename": path} for path in sorted(found.commits[oid])]
        self._answer({"_id": oid, "id": repo, "sha": oid, "private": found.private, "siblings": files})

    def tree(self, kind: str, repo: str, revision: str) -> None:
        self._answer(self._listed(self._repo(kind, repo), revision))

    def paths_info(self, kind: str, repo: str, revision: str) -> None:
        asked = parse_qs(self.body.decode())["paths"]
        self._answer([row for row in self._listed(self._repo(kind, repo), revision) if row["path"] in asked])

    def _listed(self, found: Repo, revision: str) -> list[dict]:
        rows = []
        for path, data in sorted(found.commits[self._commit(found, revision)].items()):
            row = {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)}
            if path.endswith(LFS_ENDINGS):
                lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": len(pointer(data))}
                row |= {"oid": blob_id(pointer(data)), "lfs": lfs}
            rows.append(row)
        return rows

    def resolve(self, repo: str, revision: str, path: str, kind: str = "model") -> None:
        found = self._repo(kind, repo)
        oid = self._commit(found, revision)
        data = found.commits[oid].get(path)
        if data is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        etag = hashlib.sha256(data).hexdigest() if path.endswith(LFS_ENDINGS) else blob_id(data)
        headers = {"X-Repo-Commit": oid, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            return self._answer(data[first : last + 1], 206, headers)
        self._answer(self.hub.altered.get(path, data), 200, headers)

    def variable(self, repo: str) -> None:
        found = self._repo("space", repo, write=self.command != "GET")
        data = json.loads(self.body or b"{}")
        if self.command == "POST":
            found.settings["variables"][data["key"]] = data["value"]
        elif self.command == "DELETE":
            del found.settings["variables"][data["key"]]
        self._answer({name: {"value": value} for name, value in found.settings["variables"].items()})

    def secret(self, repo: str) -> None:
        data = json.loads(self.body)
        self._repo("space", repo, write=True).settings["secrets"][data["key"]] = data["value"]
        self._answer({})

    def hardware(self, repo: str) -> None:
        found = self._repo("space", repo, write=True)
        found.settings["hardware"] = json.loads(self.body)["flavor"]
        self._answer({"stage": "BUILDING", "hardware": {"current": None, "requested": found.settings["hardware"]}})

    def prices(self) -> None:
        self._answer(
            [
                {
                    "name": name,
                    "prettyName": name,
                    "cpu": "2 vCPU",
                    "ram": "16 GB",
                    "unitCostMicroUSD": round(dollars * 1e6 / 60),
                    "unitCostUSD": dollars / 60,
                    "unitLabel": "minute",
                }
                for name, dollars in self.hub.dollars_per_hour.items()
            ]
        )

    def run_job(self, namespace: str) -> None:
        self._user(write=True)
        spec = json.loads(self.body)
        job = {"id": f"job{len(self.hub.jobs)}", "owner": {"id": "1", "name": namespace, "type": "user"}, **spec}
        job |= {"createdAt": "2026-01-01T00:00:00.000Z", "status": {"stage": self.hub.job_ends_as, "message": None}}
        self.hub.jobs[job["id"]] = job
        self._answer(job)

    def inspect_job(self, namespace: str, job: str) -> None:
        self._answer(self.hub.jobs[job])

    def job_logs(self, namespace: str, job: str) -> None:
        events = [{"data": text, "timestamp": "2026-01-01T00:00:00.000Z"} for text in self.hub.job_says]
        text = "".join(f"event: log\ndata: {json.dumps(event)}\n\n" for event in events)
        self._answer(text.encode(), 200, {"Content-Type": "text/event-stream"})

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        try:
            front = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else None
        except yaml.YAMLError as error:
            return self._answer({"errors": [{"message": str(error)}], "warnings": []}, 400)
        warnings = [] if isinstance(front, dict) else [{"message": "empty or missing yaml metadata in repo card"}]
        self._answer({"errors": [], "warnings": warnings})

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, write=True)
        present = found.commits[self._commit(found, revision)]
        answer = []
        for file in json.loads(self.body)["files"]:
            path, old = file["path"], present.get(file["path"])
            lfs = path.endswith(LFS_ENDINGS)
            oid = None if old is None else hashlib.sha256(old).hexdigest() if lfs else blob_id(old)
            answer.append({"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": oid})
        self._answer({"files": answer})

    def lfs_batch(self, repo: str, kind: str = "model") -> None:
        self._repo(kind, repo, write=True)
        answer = []
        for wanted in json.loads(self.body)["objects"]:
            oid = wanted["oid"]
            actions = {
                "upload": {"href": f"{self.hub.url}/lfs/{oid}"},
                "verify": {"href": f"{self.hub.url}/lfs/verify"},
            }
            answer.append(wanted if oid in self.hub.objects else {**wanted, "actions": actions})
        self._answer({"transfer": "basic", "objects": answer})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "the content does not have this hash")
        self.hub.objects[oid] = self.body
        self._answer({})

    def lfs_verify(self) -> None:
        wanted = json.loads(self.body)
        if len(self.hub.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refusal(404, "the object has not arrived")
        self._answer({})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        found = self._repo(kind, repo, write=True)
        head = self._commit(found, revision)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", head) != head:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(found.commits[head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = found.commit(revision, files, header["summary"])
        prefix = "" if kind == "model" else f"{kind}s/"
        url = f"{self.hub.url}/{prefix}{repo}/commit/{oid}"
        self._answer({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


_PREFIX = r"/(?:(?P<kind>space|dataset)s/)?"
ROUTES = [
    (("GET",), "/api/whoami-v2", _Handler.whoami),
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate),
    (("GET",), "/api/spaces/hardware", _Handler.prices),
    (("POST",), f"/api/{KIND}/{REPO}/branch/(?P<name>[^/]+)", _Handler.branch),
    (("GET",), f"/api/{KIND}/{REPO}", _Handler.info),
    (("GET",), f"/api/{KIND}/{REPO}/revision/(?P<revision>[^/]+)", _Handler.info),
    (("GET",), f"/api/{KIND}/{REPO}/tree/(?P<revision>[^/]+)", _Handler.tree),
    (("POST",), f"/api/{KIND}/{REPO}/paths-info/(?P<revision>[^/]+)", _Handler.paths_info),
    (("POST",), f"/api/{KIND}/{REPO}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    (("POST",), f"/api/{KIND}/{REPO}/commit/(?P<revision>[^/]+)", _Handler.commit),
    (("GET", "POST", "DELETE"), f"/api/spaces/{REPO}/variables", _Handler.variable),
    (("POST",), f"/api/spaces/{REPO}/secrets", _Handler.secret),
    (("POST",), f"/api/spaces/{REPO}/hardware", _Handler.hardware),
    (("POST",), "/api/jobs/(?P<namespace>[^/]+)", _Handler.run_job),
    (("GET",), "/api/jobs/(?P<namespace>[^/]+)/(?P<job>[^/]+)", _Handler.inspect_job),
    (("GET",), "/api/jobs/(?P<namespace>[^/]+)/(?P<job>[^/]+)/logs", _Handler.job_logs),
    (("POST",), f"/{REPO}.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (("POST",), f"/(?P<kind>space|dataset)s/{REPO}.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", _Handler.lfs_put),
    (("POST",), "/lfs/verify", _Handler.lfs_verify),
    (("GET", "HEAD"), f"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
    (
        ("GET", "HEAD"),
        f"/(?P<kind>space|dataset)s/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
        _Handler.resolve,
    ),
]


def main() -> None:
    """Serve an empty Hub, and say how to use it."""
    parser = argparse.ArgumentParser(prog="python -m tests.loopback_hub", description="A small Hub on this machine.")
    parser.add_argument("--port", type=int, default=8765)
    hub = LoopbackHub(parser.parse_args().port)
    print("In another shell, for the account `ann`:", flush=True)
    print(f"export HF_ENDPOINT={hub.url} HF_TOKEN=hf_write HF_HUB_DISABLE_XET=1 HF_HOME=$(mktemp -d)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        hub.server.serve_forever()


if __name__ == "__main__":
    main()
