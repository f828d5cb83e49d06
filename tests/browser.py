"""Pages in Chromium, for tests: opened from disk, with every error of the console noted."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 60_000
"""A loaded machine is slow to open a page."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: the page was not opened")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, page: Path, address: str = "", *, width: int = 1280, **settings: object) -> Iterator[Page]:
    """A page in a fresh context; at the end, nothing was fetched from elsewhere and no error is in its console.

    Args:
        address: what follows the page's own address, from `#` on.
        settings: of the context, such as color_scheme and java_script_enabled.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)  # pyright: ignore[reportArgumentType]
    tab = context.new_page()
    tab.set_default_timeout(WAIT_MS)
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: wrong.append(request.url) if _is_elsewhere(request) else None)
    tab.goto(page.as_uri() + address)
    yield tab
    context.close()
    assert not wrong


def hash_of(tab: Page) -> Mapping[str, str]:
    """What the address says after `#`, by name."""
    return tab.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def _is_elsewhere(request: Request) -> bool:
    return not request.url.startswith(("file:", "data:", "blob:"))
