"""The site, built once, and a browser to look at it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from explorable_page import settle
from serving import serving

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

# No extensions, no updates, no reports home: the tests say that nothing leaves the machine.
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make site` builds it, the chapters not executed anew; or one that is built: the folder HVAE_SITE."""
    if chosen := os.environ.get("HVAE_SITE"):
        return Path(chosen)
    folder = tmp_path_factory.mktemp("built") / "site"
    # Without --quiet, with which a strict build passes over broken links.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[str]:
    """The address of the site on localhost."""
    with serving(site) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Debian's chromium."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine: the site is not looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield running
        running.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: to the folder HVAE_SCREENSHOTS, or to a temporary one."""
    chosen = os.environ.get("HVAE_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def opened(browser, address: str) -> Iterator[Callable]:
    """Opens the page at the module's `address`, with options of a browser's context.

    Complaints, and requests that leave the machine, fail.
    """
    contexts, complaints = [], []

    def open_page(setup: str = "", **options: object):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith("file:") else complaints.append(r.url))
        if setup:
            page.add_init_script(setup)
        page.goto(address)
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
