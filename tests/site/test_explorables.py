"""What all explorables have in common: they fit, follow colours, can be used by keys and fingers, and are small."""

from collections.abc import Callable
from pathlib import Path

import hooks
import pytest
from explorable_page import ASSETS, settle, write_page

NAMES = sorted(hooks.EXPLORABLES)
CONTROLS = "input, button, .picture"


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of an explorable."""
    return request.param


@pytest.fixture
def address(tmp_path: Path, name: str) -> str:
    """A page with it."""
    return write_page(tmp_path, name)


def ready(page):
    """Wait until something is painted: the globe loads its decoder first."""
    page.wait_for_function(
        "document.querySelector('canvas').width > 300 || document.querySelector('canvas').height > 150"
    )
    settle(page)
    return page


def pictures(page) -> list[str]:
    settle(page)
    return page.locator("canvas").evaluate_all("nodes => nodes.map((node) => node.toDataURL())")


def test_each_has_a_script_and_a_picture(name: str) -> None:
    assert (ASSETS / f"{name}.js").is_file()
    assert (ASSETS / f"{name}.png").stat().st_size < 150_000


@pytest.mark.parametrize(("width", "density"), [(340, 1), (390, 2), (1280, 2)])
def test_it_fits_and_is_sharp(opened: Callable, width: int, density: int) -> None:
    page = ready(opened(viewport={"width": width, "height": 800}, device_scale_factor=density))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for canvas in page.locator("canvas").all():
        pixels, size = canvas.evaluate("node => [node.width, node.clientWidth]")
        assert pixels == density * size > 150


def test_fingers_find_room(opened: Callable) -> None:
    page = ready(opened(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True))
    targets = page.locator("input[type=range], button, .options span:visible")
    boxes = targets.evaluate_all("nodes => nodes.map((node) => node.getBoundingClientRect().toJSON())")
    assert boxes
    for box in boxes:
        assert box["height"] >= 44, box
        assert box["width"] >= 44, box


def test_the_colour_scheme_is_followed_at_once(opened: Callable) -> None:
    page = ready(opened(reduced_motion="reduce"))
    light = pictures(page)
    page.evaluate("document.body.dataset.mdColorScheme = 'slate'")
    dark = pictures(page)
    assert all(before != after for before, after in zip(light, dark, strict=True))
    page.evaluate("document.body.dataset.mdColorScheme = 'default'")
    assert pictures(page) == light


def test_every_control_is_reached_by_the_tab_key_and_shows_it(opened: Callable) -> None:
    page = ready(opened(reduced_motion="reduce"))
    call = """(controls) => {
        const visible = [...document.querySelectorAll(controls)].filter((node) => node.offsetParent);
        return new Set(visible.map((node) => (node.type === "radio" ? node.name : visible.indexOf(node)))).size;
    }"""
    stops = page.evaluate(call, CONTROLS)  # a group of radio buttons is one stop
    for _ in range(stops):
        page.keyboard.press("Tab")
        style = page.evaluate("""() => {
            const node = document.activeElement;
            if (!node.closest(".explorable")) return "outside";
            return getComputedStyle(node.type === "radio" ? node.nextElementSibling : node).outlineStyle;
        }""")
        assert style not in {"none", "outside"}
    page.keyboard.press("Tab")
    assert not page.evaluate("Boolean(document.activeElement.closest('.explorable'))")


def test_every_control_has_a_name_and_every_picture_says_what_it_shows(opened: Callable) -> None:
    page = ready(opened())
    for canvas in page.locator("canvas").all():
        assert len((canvas.get_attribute("aria-label") or "").split()) >= 6
    snapshot = page.locator(".explorable").first.aria_snapshot()
    for role in ("slider", "button", "radio"):
        for line in snapshot.splitlines():
            if line.strip().startswith(f"- {role}"):
                assert '"' in line, line


def test_nothing_moves_by_itself(opened: Callable) -> None:
    page = ready(opened())
    page.wait_for_timeout(700)  # what the first paint asked for
    before = pictures(page)
    page.wait_for_timeout(500)
    assert pictures(page) == before


def test_what_a_page_loads_is_small(name: str) -> None:
    shared = sum((ASSETS / file).stat().st_size for file in ("explorable.js", "explorable.css"))
    assert shared + (ASSETS / f"{name}.js").stat().st_size < 40_000
    for data in ASSETS.glob(f"{name}-?.js"):
        assert data.stat().st_size <= 300 * 1024


def test_its_script_is_loaded_when_the_reader_comes_near(opened: Callable, tmp_path: Path, name: str) -> None:
    page_file = tmp_path / "page.html"
    text = page_file.read_text(encoding="utf-8")
    script = f'<script src="{(ASSETS / f"{name}.js").as_uri()}"></script>'
    assert script in text
    far = '<div style="height: 3000px"></div>'
    page_file.write_text(
        text.replace(script, "").replace('<div class="explorable"', far + '<div class="explorable"', 1)
    )
    page = opened(viewport={"width": 390, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(200)
    assert page.locator("#before").count()
    assert page.locator(f"script[src$='/{name}.js']").count() == len(asked) == 0
    page.mouse.wheel(0, 1500)  # the element is 700 px below the window
    page.wait_for_selector(".live", state="attached")
    page.locator(".explorable").first.scroll_into_view_if_needed()
    ready(page)
    assert sum(address.endswith(f"/{name}.js") for address in asked) == 1
    assert not page.locator("#before").count()


def test_one_that_waits_keeps_its_picture_until_its_button_is_pressed(
    opened: Callable, tmp_path: Path, name: str
) -> None:
    page_file = tmp_path / "page.html"
    text = page_file.read_text(encoding="utf-8")
    page_file.write_text(text.replace(f'data-explorable="{name}"', f'data-explorable="{name}" data-press="Go"'))
    asked: list[str] = []
    page = opened(viewport={"width": 390, "height": 800}, setup="")
    page.on("request", lambda request: asked.append(request.url))
    assert page.locator("#before").is_visible()
    assert not page.locator("canvas").count()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    ready(page)
    assert not page.locator("#before").count()
    assert page.evaluate("document.activeElement.matches('.explorable :is(canvas, input)')")
    assert any("globe-s.js" in address for address in asked) == (name == "globe")
