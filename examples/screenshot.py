"""Take the screenshot of the README from the real page: `python examples/screenshot.py`.

Needs Chromium with its driver, and selenium (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import app  # noqa: E402
from classifier import Classifier  # noqa: E402

#: Which of the page's examples is shown.
EXAMPLE = 2


def main() -> None:
    """Answer one example in a headless browser and save what is seen."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,860"):
        options.add_argument(argument)
    demo = app.build_demo(Classifier.load())
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 1280, "height": 860, "deviceScaleFactor": 1, "mobile": False},
        )
        driver.get(f"{url}?__theme=light")
        wait = WebDriverWait(driver, 30)
        wait.until(lambda _: len(driver.find_elements(By.CSS_SELECTOR, ".example")) > EXAMPLE)
        # All of them first, so that the running figures rest on more than one answer.
        examples = driver.find_elements(By.CSS_SELECTOR, ".example")
        for example in (*examples * 2, examples[EXAMPLE]):
            driver.find_element(By.ID, "clear").click()
            wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, ".cards.waiting"))
            example.click()
            wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, ".cards:not(.waiting)"))
        driver.execute_script("document.activeElement.blur()")
        driver.save_screenshot(str(ROOT / "examples/screenshot.png"))
    finally:
        driver.quit()
        demo.close()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
