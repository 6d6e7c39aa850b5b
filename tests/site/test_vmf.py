"""The explorable of the von Mises-Fisher law, alone on a page: its numbers, its sampler, keys, pointer and colours.

Statistical tests: 15 Kolmogorov-Smirnov tests at 2e-5, 14 lengths within 4 of their standard errors (4e-4 at most, with
a seed that readers see), the others within 5. A correct program fails under fresh seeds with probability 8e-4.
"""

import functools
import json
import math
import re

import numpy as np
import pytest
import torch
from explorable_page import CANVAS, number, picture, settle, slide, write_page
from scipy import integrate, stats

from hvae_tutorial.special import mean_resultant_length

KAPPAS = {0: 0.0, 10: 0.32, 20: 1.0, 34: 5.0, 40: 10.0, 60: 100.0, 80: 1000.0}  # by position of the slider


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with the explorable."""
    return write_page(tmp_path_factory.mktemp("explorable"), "vmf")


def numbers(page) -> dict[str, str]:
    """What the page shows, by name."""
    return {name: number(page, name) for name in ("length", "exact", "expected", "accepted")}


def draw(page, m: int, kappa: float, n: int, seed: int) -> tuple[np.ndarray, int]:
    call = "(settings) => JSON.stringify(hvaeExplorables.vmf.draw(...settings))"
    drawn = json.loads(page.evaluate(call, [m, kappa, n, seed]))
    return np.array(drawn["z"]), drawn["proposals"]


def density(theta: float, m: int, kappa: float) -> float:
    """Of the angle to mu, up to a constant."""
    return math.exp(kappa * (math.cos(theta) - 1)) * math.sin(theta) ** (m - 2)


@functools.cache
def distribution(m: int, kappa: float) -> tuple[np.ndarray, np.ndarray]:
    """The angle and its distribution function, by quadrature."""
    theta = np.linspace(0, math.pi, 40_001)
    values = np.exp(kappa * (np.cos(theta) - 1)) * np.sin(theta) ** (m - 2)
    cumulative = integrate.cumulative_simpson(values, x=theta, initial=0)
    return theta, cumulative / cumulative[-1]


def test_the_numbers_are_the_librarys(opened) -> None:
    page = opened()
    for m in (3, 2):
        page.locator(f"input[value='{m}']").check(force=True)
        for position, kappa in KAPPAS.items():
            slide(page, position)
            shown = numbers(page)
            assert page.locator(".slider b").inner_text() == f"{kappa:g}"
            digits = len(shown["exact"].partition(".")[2])
            exact = mean_resultant_length(torch.tensor(kappa, dtype=torch.float64), m).item()
            assert shown["exact"] == f"{exact:.{digits}f}"
            expected = float(shown["expected"].removeprefix("±"))
            assert 10 ** (1 - digits) <= expected < 10 ** (3 - digits)  # two digits of the difference, or three
            assert abs(float(shown["length"]) - exact) < 4 * expected
            z, proposals = draw(page, m, kappa, 1000, 1)
            assert shown["length"] == f"{np.linalg.norm(z.mean(0)):.{digits}f}"
            assert shown["accepted"] == f"{100_000 / proposals:.1f}%"


@pytest.mark.parametrize("m", [2, 3, 6, 41])
def test_mean_resultant_length_in_any_dimension(opened, m: int) -> None:
    kappa = torch.logspace(-3, 3, 30, dtype=torch.float64)
    call = "([m, kappas]) => kappas.map((kappa) => hvaeExplorables.vmf.meanResultantLength(m, kappa))"
    values = torch.tensor(opened().evaluate(call, [m, kappa.tolist()]), dtype=torch.float64)
    torch.testing.assert_close(values, mean_resultant_length(kappa, m), rtol=1e-12, atol=0)


@pytest.mark.parametrize("m", [2, 3])
def test_the_expected_difference_is_that_of_many_sets(opened, m: int) -> None:
    page = opened()
    call = """([m, kappa, n]) => {
      const { draw, meanResultantLength, spread } = hvaeExplorables.vmf;
      let sum = 0;
      for (let seed = 0; seed < 400; seed++) {
        const { z } = draw(m, kappa, n, 1000 * seed);
        const mean = z[0].map((_, axis) => z.reduce((total, point) => total + point[axis], 0) / n);
        sum += (Math.hypot(...mean) - meanResultantLength(m, kappa)) ** 2 / 400;
      }
      return Math.sqrt(sum) / spread(m, kappa, n);
    }"""
    for kappa in (0, 0.1, 0.3, 1, 10, 1000):
        # Its standard deviation is about 0.035; the formula is good to 0.03.
        assert page.evaluate(call, [m, kappa, 200]) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("kappa", [0, 0.5, 5, 50, 1000])
@pytest.mark.parametrize("m", [2, 3, 10])
def test_samples_follow_the_law(opened, m: int, kappa: float) -> None:
    z, _ = draw(opened(), m, kappa, 20_000, 7)
    assert np.abs(np.linalg.norm(z, axis=1) - 1).max() < 1e-12
    theta = np.arctan2(np.linalg.norm(z[:, 1:], axis=1), z[:, 0])
    exact = distribution(m, kappa)
    assert stats.kstest(theta, lambda t: np.interp(t, *exact)).pvalue > 2e-5
    # Across mu no direction is preferred.
    across = z[:, 1] / np.linalg.norm(z[:, 1:], axis=1)
    assert abs(across.mean()) < 5 / math.sqrt((m - 1) * len(z))


@pytest.mark.parametrize("kappa", [0.5, 5, 1000])
@pytest.mark.parametrize("m", [2, 3])
def test_as_many_proposals_are_accepted_as_the_envelope_promises(opened, m: int, kappa: float) -> None:
    """The envelope of w is (1 - w^2)^((m-3)/2) (1 - x w)^(1-m), scaled to touch the density at w = x."""
    b = (m - 1) / (2 * kappa + math.hypot(2 * kappa, m - 1))
    x = (1 - b) / (1 + b)
    height = math.exp(kappa * (x - 1)) * (1 - x * x) ** (m - 1)
    middle = [math.acos(x)]
    law = integrate.quad(density, 0, math.pi, args=(m, kappa), points=middle)[0]
    envelope = integrate.quad(
        lambda t: height * math.sin(t) ** (m - 2) * (1 - x * math.cos(t)) ** (1 - m), 0, math.pi, points=middle
    )[0]
    rate = law / envelope
    _, proposals = draw(opened(), m, kappa, 20_000, 3)
    assert abs(20_000 / proposals - rate) < 5 * rate * math.sqrt((1 - rate) / 20_000)


def test_the_same_seed_gives_the_same_samples_and_again_gives_others(opened) -> None:
    page = opened()
    first = numbers(page), picture(page)
    page.get_by_role("button", name="Draw again").click()
    second = numbers(page), picture(page)
    assert second[0]["length"] != first[0]["length"]
    assert second[0]["exact"] == first[0]["exact"]
    assert second[1] != first[1]
    page.reload()
    assert (numbers(page), picture(page)) == first


def test_more_samples_come_closer(opened) -> None:
    page = opened()
    expected = []
    for n in ("200", "1000", "5000"):
        page.get_by_role("radio", name=n, exact=True).check(force=True)
        expected.append(float(numbers(page)["expected"].removeprefix("±")))
    assert expected[0] / expected[2] == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize("space", ["sphere", "circle"])
def test_arrow_keys_turn(opened, space: str) -> None:
    page = opened()
    page.get_by_role("radio", name=space).check(force=True)
    page.locator(CANVAS).focus()
    start = picture(page)
    label = page.locator(CANVAS).get_attribute("aria-label")
    assert space in label
    assert "kappa 5" in label
    for key, back in (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown")):
        page.keyboard.press(key)
        assert picture(page) != start
        assert page.locator(CANVAS).get_attribute("aria-label") != label
        page.keyboard.press(back)
        settle(page)
        assert page.locator(CANVAS).get_attribute("aria-label") == label
    before = numbers(page)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # the slider
    assert numbers(page) != before
    assert page.locator("input[type=range]").get_attribute("aria-valuetext") == "5.6"


@pytest.mark.parametrize("space", ["sphere", "circle"])
def test_the_pointer_turns(opened, space: str) -> None:
    page = opened()
    page.get_by_role("radio", name=space).check(force=True)
    start = picture(page)
    box = page.locator(CANVAS).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.6)
    assert picture(page) == start
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.7)
    turned = picture(page)
    assert turned != start
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.2)
    assert picture(page) == turned


def test_touch_across_turns_and_down_scrolls(opened) -> None:
    page = opened(viewport={"width": 360, "height": 500}, has_touch=True, is_mobile=True)
    client = page.context.new_cdp_session(page)
    box = page.locator(CANVAS).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def up() -> int:
        return int(re.search(r"(-?\d+)° up", page.locator(CANVAS).get_attribute("aria-label")).group(1))

    def swipe(*path: tuple[float, float]) -> None:
        client.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        before = (0.0, 0.0)
        for after in path:
            for part in np.linspace(0, 1, 8):
                right, down = (1 - part) * np.array(before) + part * np.array(after)
                point = {"x": x + right, "y": y + down}
                client.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
            before = after
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        settle(page)

    start = up()
    swipe((-80, 0), (-80, -120))  # once it turns, it turns in all directions
    assert up() > start + 20
    assert page.evaluate("scrollY") == 0
    swipe((0, -120))
    page.wait_for_function("scrollY > 50")


def test_pages_that_are_replaced_without_loading(opened) -> None:
    """Material's document$ calls at each page; what is there already is left alone."""
    page = opened("window.document$ = { subscribe(call) { (this.call = call)(); } };")
    assert page.locator(".live").count() == 1
    slide(page, 0)
    page.evaluate("document$.call()")
    assert numbers(page)["exact"] == "0.0000"
    page.evaluate(
        "document.body.innerHTML = `<div class='explorable' data-explorable='vmf'></div>`.repeat(2); document$.call()"
    )
    settle(page)
    assert page.locator(".live").count() == 2
    page.get_by_role("radio", name="circle").nth(1).check(force=True)
    assert page.get_by_role("radio", name="sphere").nth(0).is_checked()  # each has buttons of its own
    page.evaluate("document.body.dataset.mdColorScheme = 'slate'")
    settle(page)


def test_the_picture_stays_where_there_is_no_script(opened, browser, address: str) -> None:
    page = opened()
    assert page.locator("#before").count() == 0
    assert page.locator("#after").is_visible()  # an explorable that does not exist
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#before").is_visible()
    context.close()


def test_controls_have_names_and_focus_is_seen(opened) -> None:
    page = opened()
    for role, name in (
        ("slider", "Concentration κ"),
        ("group", "On the"),
        ("group", "Samples"),
        ("radio", "sphere"),
        ("radio", "5000"),
        ("button", "Draw again"),
    ):
        assert page.get_by_role(role, name=name).count() == 1
    page.locator(CANVAS).focus()
    for element in (CANVAS, "input[type=range]", ".options :checked + span", ".options :checked + span", "button"):
        styles = page.locator(element).evaluate_all("nodes => nodes.map((node) => getComputedStyle(node).outlineStyle)")
        assert any(style != "none" for style in styles), element
        page.keyboard.press("Tab")


def test_what_is_spoken_waits_until_the_slider_rests(opened) -> None:
    page = opened()
    line = page.locator("[aria-live=polite]")
    assert line.inner_text() == ""
    for position in (35, 36, 37, 38, 39, 40):
        slide(page, position)
    assert line.inner_text() == ""
    page.wait_for_function("document.querySelector('[aria-live]').textContent")
    assert numbers(page)["length"] in line.inner_text()
