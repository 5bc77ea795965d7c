"""What the README and the guides say is run: front matter, links, Python snippets and commands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import make_model, make_tokenizer

from classifier.__main__ import _parser
from classifier.folder import EMBEDDED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: The README first: what is run with small data is its first command of a kind.
PAGES = [ROOT / "README.md", *sorted((ROOT / "examples").glob("*.md")), ROOT / "examples/data/README.md"]

PAGE = "http://127.0.0.1:7860"

needs_model = pytest.mark.skipif(not EMBEDDED.is_dir(), reason="the embedded model is not there")


def blocks(language: str) -> list[str]:
    """The blocks of code of all pages, each once."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return list(dict.fromkeys(re.findall(rf"^```{language}\n(.*?)^```", pages, flags=re.DOTALL | re.MULTILINE)))


def prose(page: Path) -> str:
    """A page without its code, which may hold brackets and number signs."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the Hub give to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def run(arguments: list[str], **environment: str) -> str:
    # Snippets say `python`; let that be the interpreter of the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_front_matter_is_what_a_space_needs():
    matter = yaml.safe_load(README.split("---")[1])
    assert (matter["sdk"], matter["license"]) == ("gradio", "apache-2.0")
    assert (ROOT / matter["app_file"]).is_file()
    assert isinstance(matter["sdk_version"], str) and isinstance(matter["python_version"], str)
    assert len(matter["short_description"]) <= 60
    assert not matter["emoji"].isascii()
    requirement = next(line for line in (ROOT / "requirements.txt").read_text().splitlines() if "gradio" in line)
    assert matter["sdk_version"].startswith(requirement.split(">=")[1].split(",")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_linked_file_and_heading_is_there(page):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_guide():
    guides = {page for page in PAGES[1:] if page.name != "model_notes.md"}
    links = re.findall(r"\]\((examples/[^)#]+\.md)", README)
    assert guides == {ROOT / link for link in links}


@needs_model
@pytest.mark.parametrize("code", [code for code in blocks("python") if PAGE not in code])
def test_python_snippets_run(code):
    assert run([sys.executable, "-c", code])


@pytest.mark.parametrize("code", [code for code in blocks("python") if PAGE in code])
def test_client_snippets_run(code, page_url):
    assert run([sys.executable, "-c", code.replace(PAGE, page_url.rstrip("/"))])


@pytest.mark.parametrize("code", [code for code in blocks("bash") if PAGE in code])
def test_http_snippets_run(code, page_url):
    assert '"probabilities"' in run(["bash", "-euc", code.replace(PAGE, page_url.rstrip("/"))])


def serving_commands() -> list[str]:
    lines = [line for code in blocks("bash") for line in code.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(line for line in lines if "python -m classifier" in line and PAGE not in line))


@needs_model
@pytest.mark.parametrize(
    "line",
    [line for line in serving_commands() if re.search("classifier (classify|explain)", line) and "--model" not in line],
)
def test_commands_run(line):
    assert run(["bash", "-euc", line])


@needs_model
def test_the_scoring_command_runs(tmp_path):
    line = next(line for line in serving_commands() if "classifier score examples" in line)
    run(["bash", "-euc", line.replace("scored.csv", str(tmp_path / "scored.csv"))])
    assert len((tmp_path / "scored.csv").read_text(encoding="utf-8").splitlines()) > 20


@pytest.mark.parametrize("line", serving_commands())
def test_every_command_and_flag_exists(line):
    words = shlex.split(line.split("| ")[-1], comments=True)
    _parser().parse_args(words[words.index("classifier") + 1 :])


def test_the_training_command_runs(tmp_path):
    """With a tiny encoder and few messages in the place of the README's, in two steps."""
    line = next(line for line in serving_commands() if " train " in line)
    encoder, data = tmp_path / "encoder", tmp_path / "support.jsonl"
    make_model().distilbert.save_pretrained(encoder)
    make_tokenizer().save(str(encoder / "tokenizer.json"))
    rows = (ROOT / "examples/data/support.jsonl").read_text(encoding="utf-8").splitlines()
    data.write_text("\n".join(rows[:1500]), encoding="utf-8")
    for given, small in {
        r"--base \S+": f"--base {encoder}",
        r"--data .*?(?= --)": f"--data {data}",
        r"--out \S+": f"--out {tmp_path / 'model'} --max-steps 2 --max-tokens 48",
    }.items():
        line, count = re.subn(given, small, line)
        assert count == 1
    run(["bash", "-euc", line])
    assert (tmp_path / "model/onnx/model_int8.onnx").is_file()
