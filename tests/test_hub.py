import json
import pickle
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants as constants
import pytest

from classifier.errors import ClassifierError
from classifier.folder import CARD, CONFIG, FILES, ONNX_INT8, WEIGHTS, write_json
from classifier.hub import ENDPOINT_FILES, HubUnreachable, cached_commit, load_for_app, pull, push
from classifier.predict import Classifier

REPO = "ann/tiny"


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}


def test_push_then_pull_gives_equal_bytes(hub, own_folder):
    commit = push(own_folder, REPO)
    assert commit.repo_url == f"{hub.url}/{REPO}"
    path, oid = pull(REPO)
    assert oid == commit.oid
    assert contents(path) == contents(own_folder)
    assert set(hub.files(REPO)) == {*contents(own_folder), *ENDPOINT_FILES}


def test_push_is_one_commit_with_its_message(hub, own_folder):
    commit = push(own_folder, REPO, message="First model")
    assert list(hub.repos["model", REPO].messages.values()) == ["initial commit", "First model"]
    assert commit.commit_message == "First model"


def test_second_push_sends_only_what_changed_and_removes_what_is_gone(hub, own_folder):
    push(own_folder, REPO)
    (own_folder / "onnx/model.onnx").unlink()
    write_json(own_folder / "calibration.json", {"temperatures": {"intent": 2.0}})
    hub.requests.clear()
    push(own_folder, REPO)
    assert not [request for request in hub.requests if request.startswith("PUT")]
    assert "onnx/model.onnx" not in hub.files(REPO)
    assert contents(pull(REPO)[0]) == contents(own_folder)


def test_an_unchanged_folder_makes_no_commit(hub, own_folder):
    first = push(own_folder, REPO)
    assert push(own_folder, REPO).oid == first.oid


def test_only_the_files_of_a_model_folder_are_pushed(hub, own_folder):
    (own_folder / "optimizer.pt").write_bytes(b"state")
    (own_folder / ".env").write_text("HF_TOKEN=secret")
    push(own_folder, REPO)
    assert not {"optimizer.pt", ".env"} & set(hub.files(REPO))


def test_private_repositories_need_the_owners_token(hub, own_folder, monkeypatch):
    push(own_folder, REPO, private=True)
    assert hub.repos["model", REPO].private
    pull(REPO)
    hub.tokens["hf_bob"] = ("bob", "write")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    with pytest.raises(ClassifierError, match="no such repository, or it is private"):
        pull(REPO)


def test_push_to_a_branch_leaves_the_default_branch(hub, own_folder):
    push(own_folder, REPO)
    write_json(own_folder / "calibration.json", {"temperatures": {"intent": 3.0}})
    commit = push(own_folder, REPO, revision="trial")
    assert pull(REPO, "trial")[1] == commit.oid
    assert pull(REPO)[1] != commit.oid


def test_a_commit_stays_what_it_was(hub, own_folder):
    first = push(own_folder, REPO)
    before = contents(own_folder)
    write_json(own_folder / "calibration.json", {"temperatures": {"intent": 3.0}})
    push(own_folder, REPO)
    assert contents(pull(REPO, first.oid)[0]) == before


def test_serving_does_not_download_the_weights(hub, own_folder):
    push(own_folder, REPO)
    classifier = Classifier.load(REPO)
    assert classifier.model["revision"] == hub.repos["model", REPO].branches["main"]
    assert not [request for request in hub.requests if request.startswith("GET") and request.endswith(WEIGHTS)]


def test_a_cached_commit_needs_no_network(hub, own_folder):
    commit = push(own_folder, REPO).oid
    Classifier.load(REPO, revision=commit)
    hub.requests.clear()
    Classifier.load(REPO, revision=commit)
    assert hub.requests == []


def test_load_never_takes_the_cache_in_place_of_the_hub(hub, own_folder):
    push(own_folder, REPO)
    Classifier.load(REPO)
    hub.fail("GET", "/api/models", 503, times=9)
    with pytest.raises(HubUnreachable, match="fault of its own"):
        Classifier.load(REPO)


def test_offline_mode_asks_for_the_cache(hub, own_folder, monkeypatch):
    commit = push(own_folder, REPO).oid
    pull(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pull(REPO)[1] == commit
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
        pull("ann/other")


# What an app serves


def test_an_app_serves_what_was_asked_for(hub, own_folder):
    commit = push(own_folder, REPO).oid
    classifier, note = load_for_app(REPO)
    assert classifier.model["revision"] == commit
    assert note == ""


def test_without_the_hub_an_app_serves_the_cached_copy_and_says_so(hub, own_folder):
    commit = push(own_folder, REPO).oid
    load_for_app(REPO)
    hub.stop()
    classifier, note = load_for_app(REPO)
    assert classifier.model["revision"] == commit
    assert "cannot be reached" in note and "cached copy of ann/tiny" in note and commit[:7] in note


def test_without_hub_and_cache_an_app_serves_the_embedded_model_and_says_so(hub, tiny_folder, monkeypatch):
    monkeypatch.setattr("classifier.predict.EMBEDDED", tiny_folder)
    hub.stop()
    classifier, note = load_for_app(REPO)
    assert classifier.model["id"] == "embedded"
    assert "no copy of ann/tiny is cached" in note and "embedded model answers" in note


def test_an_app_does_not_bridge_a_wrong_name(hub):
    with pytest.raises(ClassifierError, match="no such repository"):
        load_for_app("ann/nothing")


def test_the_cached_commit_is_that_of_the_branch(hub, own_folder):
    assert cached_commit(REPO) is None
    main = push(own_folder, REPO).oid
    pull(REPO)
    assert cached_commit(REPO) == main
    assert cached_commit(REPO, "trial") is None


# What is refused


def test_pickles_are_refused_and_never_downloaded(hub, own_folder):
    push(own_folder, REPO)
    repo = hub.repos["model", REPO]
    files = repo.commits[repo.branches["main"]]
    repo.commit("main", {**files, "pytorch_model.bin": pickle.dumps({})}, "add a pickle")
    with pytest.raises(ClassifierError, match=r"pytorch_model\.bin, a pickle"):
        pull(REPO)
    assert not [request for request in hub.requests if "pytorch_model.bin" in request]


def test_a_pickle_named_as_safetensors_is_refused(hub, own_folder):
    push(own_folder, REPO)
    repo = hub.repos["model", REPO]
    repo.commit("main", {**repo.commits[repo.branches["main"]], WEIGHTS: pickle.dumps([1])}, "swap the weights")
    with pytest.raises(ClassifierError, match="not in the safetensors format"):
        pull(REPO)


def test_the_endpoints_code_is_never_downloaded(hub, own_folder):
    push(own_folder, REPO)
    path, _ = pull(REPO)
    assert not any((path / name).exists() for name in ENDPOINT_FILES)
    assert not [request for request in hub.requests if "handler.py" in request]


def test_newer_formats_are_refused(hub, own_folder):
    push(own_folder, REPO)
    repo = hub.repos["model", REPO]
    files = dict(repo.commits[repo.branches["main"]])
    files[CONFIG] = json.dumps({**json.loads(files[CONFIG]), "format": 99}).encode()
    repo.commit("main", files, "from the future")
    with pytest.raises(ClassifierError, match="format 99"):
        pull(REPO)


def test_content_that_the_listing_does_not_know_is_refused_and_removed(hub, own_folder):
    push(own_folder, REPO)
    good = (own_folder / ONNX_INT8).read_bytes()
    hub.altered[ONNX_INT8] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(ClassifierError, match="does not have the Hub's checksum"):
        pull(REPO)
    hub.altered.clear()
    assert contents(pull(REPO)[0]) == contents(own_folder)


def test_a_damaged_cache_is_noticed_without_network(hub, own_folder):
    commit = push(own_folder, REPO).oid
    path, _ = pull(REPO)
    blob = (path / ONNX_INT8).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(ClassifierError, match="checksum"):
        pull(REPO, commit)


def test_a_folder_without_weights_is_not_pushed(hub, own_folder):
    (own_folder / WEIGHTS).unlink()
    with pytest.raises(ClassifierError, match=r"model\.safetensors"):
        push(own_folder, REPO)
    assert not hub.repos


@pytest.mark.parametrize("name", ["tiny", "ann/ti ny", "a/b/c", ""])
def test_names_are_checked_before_anything_is_sent(hub, own_folder, name):
    with pytest.raises(ClassifierError, match="owner/name"):
        push(own_folder, name)
    assert hub.requests == []


# Tokens


def test_a_missing_token_says_what_to_do(hub, own_folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ClassifierError, match=r"no Hub token; log in with `hf auth login`, or set HF_TOKEN"):
        push(own_folder, REPO)


def test_a_read_only_token_says_what_to_do(hub, own_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    with pytest.raises(ClassifierError, match="read-only; log in"):
        push(own_folder, REPO)
    assert not hub.repos


def test_a_wrong_token_says_what_to_do(hub, own_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ClassifierError, match="does not accept the token; log in") as error:
        push(own_folder, REPO)
    assert "hf_wrong" not in str(error.value)


def test_anothers_namespace_is_refused_in_one_sentence(hub, own_folder):
    with pytest.raises(ClassifierError, match="the token may not do this"):
        push(own_folder, "bob/tiny")


# Faults of the Hub and the network


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "does not accept the token"),
        (403, "the token may not do this"),
        (404, "no such repository"),
        (409, "someone else changed the repository"),
        (412, "someone else changed the repository"),
        (429, r"asks for fewer requests \(429\); run it again in 7 seconds"),
        (500, r"has a fault of its own \(500\)"),
        (503, r"has a fault of its own \(503\)"),
    ],
)
def test_each_refusal_of_a_commit_is_one_sentence(hub, own_folder, status, sentence):
    hub.fail("POST", "/commit/", status, Retry_After="7")
    with pytest.raises(ClassifierError, match=sentence) as error:
        push(own_folder, REPO)
    assert "\n" not in str(error.value)


def test_a_commit_that_another_overtook_is_refused(hub, own_folder, monkeypatch):
    push(own_folder, REPO)
    write_json(own_folder / "calibration.json", {"temperatures": {"intent": 2.0}})
    overtake = hub.repos["model", REPO]

    def write_card_while_another_pushes(*_):
        files = overtake.commits[overtake.branches["main"]]
        monkeypatch.setattr(
            hub, "requests", _After(hub, "/preupload/", lambda: overtake.commit("main", files, "theirs"))
        )

    monkeypatch.setattr("classifier.hub.write_card", write_card_while_another_pushes)
    with pytest.raises(ClassifierError, match="someone else changed the repository"):
        push(own_folder, REPO)


class _After(list):
    """A list of requests that acts once, after a request that matches."""

    def __init__(self, hub, part, act):
        super().__init__()
        self.part, self.act = part, act

    def append(self, request):
        if self.part in request and self.act:
            self.act()
            self.act = None


def test_a_passing_fault_is_retried(hub, own_folder):
    hub.fail("POST", "/objects/batch", 503)
    push(own_folder, REPO)
    assert contents(pull(REPO)[0]) == contents(own_folder)


def test_an_upload_cut_in_the_middle_is_sent_again(hub, own_folder):
    hub.fail("PUT", "/lfs/", None)
    push(own_folder, REPO)
    assert contents(pull(REPO)[0]) == contents(own_folder)


def test_a_download_cut_in_the_middle_is_resumed(hub, own_folder):
    push(own_folder, REPO)
    hub.fail("GET", f"/resolve/.*/{WEIGHTS}", None)
    assert contents(pull(REPO)[0]) == contents(own_folder)


def test_a_cut_commit_can_be_pushed_again(hub, own_folder):
    hub.fail("POST", "/commit/", None)
    with pytest.raises(HubUnreachable, match="cut the connection"):
        push(own_folder, REPO)
    push(own_folder, REPO)
    assert contents(pull(REPO)[0]) == contents(own_folder)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_down_says_so(hub, own_folder, status):
    push(own_folder, REPO)
    hub.fail("GET", "/api/models", status)
    with pytest.raises(HubUnreachable, match=str(status)):
        pull(REPO)


def test_an_unknown_revision_is_one_sentence(hub, own_folder):
    push(own_folder, REPO)
    with pytest.raises(ClassifierError, match="no such revision"):
        pull(REPO, "v9")


# The command line, with the client as it is configured outside of tests


def test_push_and_pull_as_commands(hub, own_folder, tmp_path):
    environment = hub.environment(tmp_path / "home")

    def run(*words):
        command = [sys.executable, "-m", "classifier", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[1])

    pushed = run("push", str(own_folder), REPO, "--json")
    assert pushed.returncode == 0, pushed.stderr
    commit = json.loads(pushed.stdout)
    assert commit["url"] == f"{hub.url}/{REPO}"
    pulled = run("pull", REPO, "--revision", commit["commit"])
    assert contents(Path(pulled.stdout.strip())) == contents(own_folder)
    answer = json.loads(run("classify", "refund my card please", "--model", REPO, "--json").stdout)
    assert answer["model"]["revision"] == commit["commit"]
    refused = run("pull", "ann/nothing")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "no such repository" in refused.stderr
    for output in (pushed, pulled, refused):
        assert "hf_write" not in output.stdout + output.stderr


def test_the_card_is_pushed_with_the_folder(hub, own_folder):
    push(own_folder, REPO)
    assert f'Classifier.load("{REPO}")' in hub.files(REPO)[CARD].decode()
