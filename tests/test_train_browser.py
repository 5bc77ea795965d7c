"""The training page in a real Chromium, from an uploaded table to a pushed model; run it with `-m nightly`.

TRAINING_SCREENSHOTS=FOLDER also saves what is seen at rest, running, stopped and done, and TRAINING_ENCODER=FOLDER
trains that encoder in the place of a tiny one.
"""

import csv
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from browser import chromium
from conftest import make_tokenizer
from loopback_hub import LoopbackHub
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from transformers import DistilBertConfig, DistilBertModel

from classifier.desks import SUPPORT
from classifier.predict import Classifier

pytestmark = [pytest.mark.browser, pytest.mark.nightly]  # about a minute

ROOT = Path(__file__).parents[1]
ENCODER, SCREENSHOTS = os.environ.get("TRAINING_ENCODER"), os.environ.get("TRAINING_SCREENSHOTS")

#: Messages in the table; enough for the run to be seen while it goes on.
ROWS = 1200


class Page:
    """The training page in the words of a visitor."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, *, width: int = 1440, height: int = 900, theme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 760}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(f"{self.url}?__theme={theme}")
        self.until(lambda: self.all("#run .run") and self.all("#send"))

    def shoot(self, state: str) -> None:
        """Save the whole page at both widths in both themes, if that is asked for."""
        for width in (1440, 390) if SCREENSHOTS else ():
            for theme in ("light", "dark"):
                self.open(width=width, height=900, theme=theme)
                self.until(lambda: state in self.find("#run .run").get_attribute("class"))
                self.driver.execute_script("return new Promise(done => setTimeout(done, 3000))")  # charts are drawn
                height = self.driver.execute_script("return document.documentElement.scrollHeight")
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 760}
                self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
                self.driver.save_screenshot(f"{SCREENSHOTS}/{state}-{width}-{theme}.png")
        self.open()

    def all(self, css: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def find(self, css: str):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def until(self, condition, seconds: float = 300) -> None:
        def met(_) -> bool:
            assert not self.all("#run .failed"), self.run()
            return condition()

        WebDriverWait(self.driver, seconds, poll_frequency=0.1).until(met)

    def run(self) -> str:
        return self.find("#run").text

    def press(self, css: str) -> None:
        self.until(lambda: self.find(css).is_enabled())
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.find(css))
        self.find(css).click()

    def write(self, css: str, text: str) -> None:
        self.find(css).send_keys(Keys.CONTROL + "a")
        self.find(css).send_keys(text, Keys.ENTER)


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture
def encoder(tmp_path) -> Path:
    if ENCODER:
        return Path(ENCODER).absolute()
    # Large enough for its steps to take time, so that the run can be seen, stopped and resumed.
    words = make_tokenizer().get_vocab_size()
    config = DistilBertConfig(vocab_size=words, dim=256, hidden_dim=1024, n_layers=6, n_heads=4)
    DistilBertModel(config).save_pretrained(tmp_path / "encoder")
    make_tokenizer().save(str(tmp_path / "encoder/tokenizer.json"))
    return tmp_path / "encoder"


@pytest.fixture
def table(tmp_path) -> Path:
    """Messages of the project as a table whose text column has another name."""
    path = tmp_path / "desk export.csv"
    lines = (ROOT / "examples/data/support.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["body", *SUPPORT.task_names])
        for row in map(json.loads, lines):
            rows.writerow([row["text"], *(row[name] for name in SUPPORT.task_names)])
    return path


@pytest.fixture
def serve(tmp_path, free_port):
    """Starts the page's server on one folder, again after it was ended, with a Hub of its own."""
    with LoopbackHub() as hub:
        started = []

        def start() -> tuple[str, subprocess.Popen]:
            command = [sys.executable, "train_space.py", "--port", str(free_port), "--folder", str(tmp_path / "run")]
            environment = {**hub.environment(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
            started.append(subprocess.Popen(command, cwd=ROOT, env=environment))
            return f"http://127.0.0.1:{free_port}/", started[-1]

        start.hub = hub
        yield start
        for process in started:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def test_a_table_becomes_a_pushed_model_and_nothing_loses_the_run(driver, serve, table, encoder, tmp_path):
    url, server = serve()
    page = Page(driver, url)
    page.until(lambda: answers(url))
    page.open()
    assert "No run yet" in page.run()
    assert not any(page.find(css).is_enabled() for css in ("#stop", "#resume", "#compare", "#send"))
    page.shoot("idle")

    page.find("#table input[type=file]").send_keys(str(table))
    page.until(lambda: len(page.all(".slot input")) == len(SUPPORT.tasks))
    assert page.find("#text-column input").get_property("value") == "body"
    assert [menu.get_property("value") for menu in page.all(".slot input")] == list(SUPPORT.task_names)
    page.write("#base input", str(encoder))
    page.write("#epochs input", "4")
    page.press("#check")
    page.until(lambda: f"{ROWS:,} rows read" in page.find("#found").text)
    found = page.find("#found").text
    assert "refund_request" in found and "NVIDIA T4" in found and "measured when the embedded model" in found

    page.press("#start")
    page.until(lambda: "Training" in page.run())
    assert not page.find("#start").is_enabled()
    page.until(lambda: " of " in page.run() and "messages/s" in page.run())
    page.until(lambda: page.all("#curves canvas, #curves svg"))
    page.shoot("running")
    server.kill()  # a restart of the server; the run goes on
    server.wait()
    url, server = serve()
    page.until(lambda: answers(url))
    driver.switch_to.new_window("tab")  # a second visitor
    page.open()
    page.until(lambda: "Training" in page.run() and page.find("#stop").is_enabled())
    assert not page.find("#start").is_enabled()

    page.press("#stop")
    page.until(lambda: "Stopped" in page.run())
    assert Path(tmp_path / "run/model.run").is_dir() and not Path(tmp_path / "run/model").exists()
    page.shoot("stopped")
    page.press("#resume")
    page.until(lambda: "Training" in page.run())
    page.until(lambda: "Done" in page.run(), 600)

    page.until(lambda: "Held-out messages" in page.find("#report").text)
    assert len(page.all("#report .matrix")) == len(SUPPORT.tasks)
    page.shoot("done")
    page.press("#compare")
    page.until(lambda: "Accuracy on the held-out messages" in page.find("#compared").text)
    page.find("#repo input, #repo textarea").send_keys("ann/from-the-page")
    page.press("#send")
    page.until(lambda: "Pushed to" in page.find("#pushed").text)
    assert "model-index" in serve.hub.files("ann/from-the-page")["README.md"].decode()
    result = Classifier.load(tmp_path / "run/model").classify("please refund my order")
    assert set(result.labels) == set(SUPPORT.task_names)
    assert not [entry for entry in driver.get_log("browser") if entry["source"] == "javascript"]
