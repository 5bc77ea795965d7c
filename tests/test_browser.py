"""The page in a real Chromium, driven as a visitor would."""

import json
from threading import Event

import pytest
from browser import chromium
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import app
from classifier import Classifier
from classifier.automation import fingerprint
from classifier.budget import Curve
from classifier.desks import SUPPORT
from classifier.folder import ModelFolder, read_json, write_json

pytestmark = pytest.mark.browser

HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>refund",
    "templates": "${alert(1)} {{constructor.constructor('alert(1)')()}} refund",
    "controls": "refund\x00 my\x07 card\x1b[31m",
    "emoji": "😀😀😀",
    "right to left": "\u202eللبطاقة refund",
    "1 MB": "refund " * 150_000,
}


#: The file box of the file tab.
UPLOAD = "#file input[type=file]"


class Page:
    """The page in the browser, in the words of a visitor."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, *, width: int = 1440, height: int = 900, theme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 760}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(f"{self.url}?__theme={theme}")
        self.until(lambda: self.all(".example") and self.all(".cards.waiting"))
        self.until(lambda: self.find("#route").get_attribute("aria-live"))

    def all(self, css: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def find(self, css: str):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def until(self, condition, seconds: float = 30) -> None:
        WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: condition())

    @property
    def message(self):
        return self.find("#message textarea")

    def put(self, text: str) -> None:
        """Fill the box as a paste does."""
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.driver.execute_script(script, self.message, text)

    def answered(self) -> bool:
        return len(self.all(".cards:not(.waiting) .card")) == len(SUPPORT.tasks) + 1

    def top(self, css: str) -> float:
        return self.driver.execute_script("return arguments[0].getBoundingClientRect().top", self.find(css))

    def bottom(self, css: str) -> float:
        return self.driver.execute_script("return arguments[0].getBoundingClientRect().bottom", self.find(css))

    def dialogs(self) -> bool:
        """Whether a script of a message ran: each would open a dialog or leave an element."""
        return bool(self.all("#answer script, #answer img")) or self.driver.execute_script("return window.hit === 1")


@pytest.fixture(scope="module")
def driver():
    with chromium(browser="ALL", performance="ALL") as driver:
        driver.set_script_timeout(30)
        yield driver


@pytest.fixture(scope="module")
def visited(driver, page_url) -> Page:
    page = Page(driver, page_url)
    page.open()
    return page


@pytest.fixture
def page(visited) -> Page:
    """The page at 1440x900 in its first state."""
    visited.find("#clear").click()
    visited.until(lambda: visited.all(".cards.waiting") and visited.message.get_property("value") == "")
    return visited


def test_a_typed_message_is_answered_by_the_button(page):
    page.message.send_keys("please refund my order")
    page.find("#analyze").click()
    page.until(page.answered)
    assert [card.get_attribute("data-task") for card in page.all(".card[data-task]")] == list(SUPPORT.task_names)
    assert all(bar.get_attribute("aria-valuenow") for bar in page.all(".card .bar"))
    assert page.all("#route .reasons li") and "Queue" in page.find("#route").text


@pytest.mark.parametrize("keys", [Keys.ENTER, Keys.CONTROL + Keys.ENTER], ids=["Enter", "Ctrl-Enter"])
def test_a_key_sends_the_message(page, keys):
    page.message.send_keys("what are your hours", keys)
    page.until(page.answered)
    assert page.message.get_property("value") == "what are your hours"


def test_shift_enter_starts_a_new_line(page):
    page.message.send_keys("one")
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).send_keys("two").perform()
    assert page.message.get_property("value") == "one\ntwo"
    assert page.all(".cards.waiting")


def test_every_example_fills_the_box_and_is_answered(page):
    assert [example.text for example in page.all(".example")] == list(SUPPORT.examples)
    for index, text in enumerate(SUPPORT.examples):
        page.find("#clear").click()
        page.until(lambda: page.all(".cards.waiting"))
        page.all(".example")[index].click()
        page.until(lambda text=text: page.message.get_property("value") == text and page.answered())


def test_the_answer_moves_nothing(page):
    places = ("#cards", "#json", ".example")
    before = [page.top(css) for css in places]
    page.message.send_keys("please refund my order", Keys.ENTER)
    page.until(page.answered)
    assert [page.top(css) for css in places] == before


def test_an_empty_message_is_a_hint(page):
    page.put("   ")
    page.find("#analyze").click()
    page.until(lambda: "Nothing to analyze yet" in page.find("#route").text)
    assert page.all(".cards.waiting") and not page.all(".toast-body")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_messages_are_only_text(page, text):
    page.driver.execute_script("window.hit = 0; window.alert = () => { window.hit = 1 }")
    page.put(text)
    page.find("#analyze").click()
    page.until(page.answered)
    assert not page.dialogs()
    assert ("The message is long" in page.find("#route").text) == (len(text) > 30)


def test_the_json_is_there_to_copy(page):
    page.message.send_keys("please refund my order", Keys.ENTER)
    page.until(page.answered)
    page.find("#json button").click()
    page.until(lambda: '"probabilities"' in page.find("#json").text)
    assert page.all("#json button[title*='opy'], #json button[aria-label*='opy']")
    page.find("#json button").click()


def test_why_explains_the_answered_message_and_clear_takes_it_away(page):
    page.message.send_keys("please refund my order", Keys.ENTER)
    page.until(page.answered)
    page.message.send_keys(" and other words")
    page.find("#why button").click()
    page.until(lambda: page.all("#why .why-task"))
    assert "refund" in page.find("#why").text and "other" not in page.find("#why").text
    page.find("#clear").click()
    page.until(lambda: not page.all("#why .label-wrap.open"))
    assert "refund" not in page.find("#why").get_attribute("innerHTML")
    page.find("#why button").click()
    page.until(lambda: "Analyze a message first" in page.find("#why").text)
    page.find("#why button").click()


def test_keyboard_and_screen_reader_find_everything(page):
    assert page.message.accessible_name == "Customer message"
    assert page.find("#route").get_attribute("role") == "status"
    assert page.find("#analyze").accessible_name == "Analyze"
    reached = []
    page.message.click()
    for _ in range(4):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(page.driver.switch_to.active_element.text)
    assert reached[:2] == ["Clear", "Analyze"]
    assert page.driver.switch_to.active_element.value_of_css_property("outline-style") == "solid"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_box_button_and_answer_without_scrolling_sideways(visited, theme):
    visited.open(width=390, height=844, theme=theme)
    visited.message.send_keys("please refund my order")
    visited.find("#analyze").click()
    visited.until(visited.answered)
    wide = visited.driver.execute_script("return document.documentElement.scrollWidth")
    assert wide <= 390
    assert visited.top("#message") >= 0 and visited.bottom("#route") <= 844
    small = [b.text for b in visited.all("#buttons button, .example") if b.size["height"] < 40]
    assert small == []
    ground = visited.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground.strip("rgb()").split(","))) < 150) == (theme == "dark")


class Held:
    """A classifier that answers only when told to."""

    def __init__(self, classifier):
        self._classifier, self.asked, self.go, self.answered = classifier, Event(), Event(), Event()

    def __getattr__(self, name):
        return getattr(self._classifier, name)

    def classify(self, text):
        self.asked.set()
        self.go.wait(30)
        self.answered.set()
        return self._classifier.classify(text)


def test_a_late_answer_never_stands_beside_an_empty_box(driver, classifier):
    held = Held(classifier)
    demo = app.build_demo(held)
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    page = Page(driver, url)
    page.open()
    page.message.send_keys("please refund my order", Keys.ENTER)
    page.until(lambda: page.all("#route .pending") and held.asked.is_set())
    page.find("#clear").click()
    page.until(lambda: page.message.get_property("value") == "" and not page.all("#route .pending"))
    held.go.set()
    assert held.answered.wait(30)
    page.message.send_keys("my card", Keys.ENTER)
    page.until(page.answered)
    assert page.message.get_property("value") == "my card"
    demo.close()


FAINT_TEXTS = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => channels(colour).slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const opaque = (colour) => colour !== "transparent" && (channels(colour)[3] ?? 1) === 1;
const ground = (element) => {
  const colour = getComputedStyle(element).backgroundColor;
  return opaque(colour) || !element.parentElement ? colour : ground(element.parentElement);
};
const faint = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = texts.nextNode(); node; node = texts.nextNode()) {
  const element = node.parentElement;
  if (!/[\\p{L}\\p{N}]/u.test(node.data) || !element.checkVisibility() || !element.offsetParent) continue;
  const [high, low] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => b - a);
  if ((high + 0.05) / (low + 0.05) < 4.5) faint.push(node.data.trim());
}
return faint;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_on_the_page_is_readable(visited, theme):
    visited.open(theme=theme)
    visited.put("please refund my order " * 30)
    visited.find("#analyze").click()
    visited.until(visited.answered)
    visited.find("#route summary").click()
    visited.find("#json button").click()
    visited.until(lambda: '"probabilities"' in visited.find("#json").text)
    assert visited.driver.execute_script(FAINT_TEXTS) == []


def test_the_desktop_shows_box_button_and_answer_at_once(visited):
    visited.open()
    visited.message.send_keys("please refund my order", Keys.ENTER)
    visited.until(visited.answered)
    assert max(visited.bottom(css) for css in ("#message", "#analyze", "#route", "#cards", "#json")) <= 900


@pytest.fixture
def open_tab(visited):
    """Open the page anew at one of its tabs; given is what is seen there first."""

    def open_tab(name: str, css: str, **screen) -> Page:
        visited.open(**screen)
        next(tab for tab in visited.all("[role=tab]") if tab.text == name).click()
        visited.until(lambda: visited.all(css))
        return visited

    return open_tab


def test_a_file_is_dropped_scored_filtered_and_there_to_download(open_tab, tmp_path):
    page = open_tab("File", UPLOAD)
    (tmp_path / "in.csv").write_text("id,message\n1,please refund my order\n2,<b>what</b> are your hours\n3,\n")
    assert not page.all("#file-results h3, #file-download")
    page.find(UPLOAD).send_keys(str(tmp_path / "in.csv"))
    page.until(lambda: "3 rows" in page.find("#file-facts").text and "(classified)" in page.find("#file-preview").text)
    page.find("#start-file").click()
    page.until(lambda: "Done" in page.find("#file-progress").text and len(page.all("#file-rows tbody tr")) == 3)
    assert len(page.all("#file-charts figure")) == len(SUPPORT.tasks) + 5
    assert "<b>what</b>" in page.find("#file-rows").text
    assert page.find("#file-download").is_enabled() and not page.find("#stop-file").is_enabled()
    assert page.driver.execute_script(FAINT_TEXTS) == []
    open_tab("File", "#job-id", width=390, height=844)
    page.until(lambda: len(page.all("#file-rows tbody tr")) == 3)  # the job of the last visit
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 390


def test_a_broken_file_gives_one_sentence(open_tab, tmp_path):
    page = open_tab("File", UPLOAD)
    (tmp_path / "broken.xlsx").write_bytes(b"PK no workbook")
    page.find(UPLOAD).send_keys(str(tmp_path / "broken.xlsx"))
    page.until(lambda: page.all("#file-facts [role=alert]"))
    assert "broken.xlsx" in page.find("#file-facts").text and not page.all("#file-preview table")


@pytest.fixture
def budgeted(own_folder):
    """A classifier whose folder holds a curve: with 77 % confidence few automatic answers were wrong."""
    folder = ModelFolder.read(own_folder)
    curve = Curve.of([0.77] * 400 + [0.6] * 100, [False] * 495 + [True] * 5)
    kept = read_json(own_folder / "calibration.json")
    automation = {**curve.to_dict(), "policy": fingerprint(folder.policy)}
    write_json(own_folder / "calibration.json", {**kept, "automation": automation})
    return Classifier.load(own_folder)


def fill(page, css, *keys):
    """Type over what stands in a field."""
    page.find(css).send_keys(Keys.CONTROL + "a")
    page.find(css).send_keys(*keys)


def fill_cell(page, css, row, column, *keys):
    """Type over what stands in a cell of a table; rows and columns from 0."""
    cell = f"{css} [data-testid=cell-{row}-{column}]"
    ActionChains(page.driver).double_click(page.find(cell)).perform()
    page.until(lambda: page.all(f"{cell} textarea, {cell} input"))
    fill(page, f"{cell} textarea, {cell} input", *keys)


def downloaded(page, folder) -> dict:
    """The policy as the download button gives it."""
    file = folder / "policy.json"
    file.unlink(missing_ok=True)
    page.find("#policy-download").click()
    page.until(file.is_file)
    return json.loads(file.read_text())


def test_a_policy_is_edited_seen_at_work_saved_loaded_and_reset(driver, budgeted, tmp_path):
    demo = app.build_demo(budgeted)
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    page = Page(driver, url)
    page.open()
    saved = tmp_path / "saved"
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(saved)})
    open_tab = {tab.text: tab for tab in page.all("[role=tab]")}
    text = page.find
    page.message.send_keys("is my <b>parcel</b> here", Keys.ENTER)
    page.until(page.answered)
    open_tab["File"].click()
    page.until(lambda: page.all(UPLOAD))
    (tmp_path / "in.csv").write_text("message\nplease refund my parcel\nwhat are your hours\n")
    page.find(UPLOAD).send_keys(str(tmp_path / "in.csv"))
    page.until(lambda: "2 rows" in page.find("#file-facts").text)
    page.find("#start-file").click()
    page.until(lambda: "Done" in page.find("#file-progress").text)

    open_tab["Policy"].click()
    page.until(lambda: page.all("#policy-file td") and page.all("#policy-message td"))
    assert "in.csv: " in text("#policy-file").text and "0 changed" in text("#policy-file").text
    assert "is my <b>parcel</b> here" in text("#policy-message").text

    fill(page, "#policy-terms textarea", "parcel", Keys.ENTER)
    page.until(lambda: "“parcel” always leads to" in text("#policy-message").text)
    page.until(lambda: "“parcel” always leads to" in text("#policy-file").text)
    assert "“parcel” always" not in text("#policy-examples").text

    fill_cell(page, "#policy-queues", len(budgeted.policy.queues), 1, "front_desk", Keys.ENTER)
    page.until(lambda: downloaded(page, saved)["default_queue"] == "front_desk")
    fill_cell(page, "#policy-costs", 2, 1, "77", Keys.ENTER)
    page.until(lambda: downloaded(page, saved)["costs"]["escalate_to_human"]["auto_resolve"] == 77)
    fill(page, "#policy-need-action input[type=number]", "88", Keys.ENTER)
    page.until(lambda: downloaded(page, saved)["automatic_needs"]["action"] == 0.88)

    assert "say nothing about changed ones" in text("#policy-promise").text  # the costs are not the counted ones
    mine = downloaded(page, saved)
    page.find("#policy-reset").click()
    page.until(lambda: downloaded(page, saved) == budgeted.policy.to_dict())
    page.until(lambda: "0 changed" in text("#policy-file").text)
    fill(page, "#policy-budget input[type=number]", "5", Keys.ENTER)
    page.until(lambda: "at most 5.0%" in text("#policy-promise").text)
    assert set(downloaded(page, saved)["automatic_needs"].values()) == {0.5}
    fill(page, "#policy-budget input[type=number]", "99", Keys.TAB)
    page.until(lambda: "at most 30.0%" in text("#policy-promise").text)
    assert page.find("#policy-budget input[type=number]").get_property("value") == "30"
    page.find("#policy-budget .reset-button").click()
    page.until(lambda: "at most 10.0%" in text("#policy-promise").text)
    fill(page, "#policy-terms textarea", "*, **", Keys.ENTER)
    page.until(lambda: "No message can hold “*” or “**”" in text("#policy-terms-fault").text)

    (tmp_path / "mine.json").write_text(json.dumps(mine))
    page.find("#policy-buttons input[type=file]").send_keys(str(tmp_path / "mine.json"))
    page.until(lambda: downloaded(page, saved) == mine)
    page.until(lambda: page.find("#policy-terms textarea").get_property("value") == "parcel")
    assert page.find("#policy-need-action input[type=number]").get_property("value") == "88"
    (tmp_path / "bad.json").write_text('{"version": "x", "treshold": 1}')
    page.find("#policy-buttons input[type=file]").send_keys(str(tmp_path / "bad.json"))
    page.until(lambda: "treshold" in text("#policy-upload-fault").text)
    assert downloaded(page, saved) == mine  # a fault changes nothing
    assert page.driver.execute_script(FAINT_TEXTS) == []
    demo.close()


def test_on_a_phone_no_table_of_the_policy_is_cut(open_tab):
    page = open_tab("Policy", "#policy-examples td", width=390, height=844)
    page.until(lambda: page.all("#policy-queues .virtual-row"))
    cut = """return [...document.querySelectorAll(".virtual-table-viewport, .decided .scroll")]
      .filter((box) => box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1).length"""
    page.until(lambda: page.driver.execute_script(cut) == 0)
    assert [part.text for part in page.all("footer *") if part.is_displayed() and part.text.strip() == "·"] == []


def test_nothing_went_wrong_and_nothing_left_this_machine(visited):
    """Reads the browser's logs of all tests above."""
    complaints = [entry for entry in visited.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    # Gradio's client says the one about itself whenever an upload ends.
    assert [entry for entry in complaints if "Method not implemented." not in entry["message"]] == []
    sent = [json.loads(entry["message"])["message"] for entry in visited.driver.get_log("performance")]
    addresses = [event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"]
    assert addresses
    assert [address for address in addresses if not address.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []
