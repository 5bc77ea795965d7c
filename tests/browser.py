"""A headless Chromium for the tests that drive a page as a visitor would."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@contextmanager
def chromium(**logs: str) -> Iterator[webdriver.Chrome]:
    """A browser that keeps the named logs at their levels; skips the test where none is installed."""
    browser, tool = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not tool:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if logs:
        options.set_capability("goog:loggingPrefs", logs)
    driver = webdriver.Chrome(options=options, service=Service(tool))
    try:
        yield driver
    finally:
        driver.quit()
