"""The explorable of the latent spaces of MNIST: its decoder against torch's, its keys, pointer and words."""

import json
import re

import globe
import numpy as np
import pytest
import torch
from explorable_page import ASSETS, CANVAS, number, picture, settle, write_page

from hvae_tutorial.models import VAE

SPACES = {"s": 3, "n": 2}
DIGIT = ".explorable .digit"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with the explorable."""
    return write_page(tmp_path_factory.mktemp("globe"), "globe")


def data(kind: str) -> dict:
    """What the page is given."""
    text = (ASSETS / f"globe-{kind}.js").read_text(encoding="utf-8")
    return json.loads(text[text.index(" = ") + 3 :].rstrip(";\n"))


def places(kind: str, n: int = 40) -> torch.Tensor:
    """Places to ask the decoder about; in the plane some are far out."""
    z = torch.randn(n, SPACES[kind], generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return z / z.norm(dim=1, keepdim=True) if kind == "s" else z * torch.linspace(0.1, 20, n)[:, None]


def choose(page, kind: str) -> None:
    """Show a model, and wait for it."""
    page.locator(f"input[value={kind}]").check(force=True)
    page.wait_for_function(f"document.querySelector('.origin').innerText.startsWith('{kind.upper()}-VAE')")
    settle(page)


def needle(page) -> np.ndarray:
    return np.array([float(x) for x in number(page, "place").strip("()").replace("−", "-").split(", ")])


@pytest.mark.parametrize("kind", SPACES)
def test_the_decoder_is_torchs_with_the_same_weights(opened, kind: str) -> None:
    page, z = opened(), places(kind)
    call = """async ([kind, places]) => {
        const { load, decode } = hvaeExplorables.globe;
        const model = await load(kind);
        return places.map((z) => Array.from(decode(model, z)));
    }"""
    found = torch.tensor(page.evaluate(call, [kind, z.tolist()]), dtype=torch.float64)
    expected = globe.dequantised(data(kind)["layers"])(z).sigmoid().detach()
    assert expected.max() > 0.9
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", sorted((ASSETS.parent / "weights").glob("*.safetensors")), ids=lambda path: path.stem)
def test_eight_bits_change_the_pixels_little(path) -> None:
    """The mean of a pixel by 0.02 on average where the data lie, and by 0.1 at most for 99 of 100 pixels."""
    kind = re.search("mnist-([sn])-", path.name).group(1)
    content, model = data(kind), VAE.load(path).float()
    codes = torch.tensor([ord(letter) for text in content["points"] for letter in text])
    z = ((codes - globe.MIDDLE) * content["reach"] / globe.STEPS).view(-1, SPACES[kind]).float()
    if kind == "s":
        assert (z.norm(dim=1) - 1).abs().max() < 2e-3
    assert len(z) == globe.IMAGES
    with torch.no_grad():
        difference = (globe.dequantised(content["layers"]).float()(z).sigmoid() - model.decoder(z).sigmoid()).abs()
    assert difference.mean() < 0.02
    assert (difference < 0.1).double().mean() > 0.99


@pytest.mark.parametrize("kind", SPACES)
def test_the_page_says_where_the_weights_come_from(opened, kind: str) -> None:
    page, content, record = opened(), data(kind), globe.record_of(kind)
    choose(page, kind)
    origin = page.locator(".origin").inner_text()
    assert f"record {record.key}, commit {record.provenance['commit'][:10]}." in origin
    for value in (record.results["elbo"], content["elbo"]["float32"], content["elbo"]["int8"]):
        assert f"{value:.2f}".replace("-", "−") in origin
    finished = abs(record.results["elbo"] - content["elbo"]["float32"]) < 0.05
    assert ("stopped early" in origin) == (not finished)


def test_what_is_under_the_needle_is_drawn(opened) -> None:
    """The digit is painted with the means that the decoder gives at the needle."""
    page = opened()
    choose(page, "s")
    call = """async () => {
        const { load, decode, nearest } = hvaeExplorables.globe;
        const words = document.querySelector(".place dd").innerText;
        const z = words.match(/[−\\d.]+/g).map((x) => Number(x.replace("−", "-")));
        const model = await load("s");
        const canvas = document.querySelector(".digit");
        const cells = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.width).data;
        const middle = (cell) => Math.floor(((cell + 0.5) * canvas.width) / 28);
        const grey = Array.from({ length: 784 }, (_, i) =>
            cells[4 * (middle(Math.floor(i / 28)) * canvas.width + middle(i % 28))]);
        return [grey, Array.from(decode(model, z)), nearest(model, z).digit];
    }"""
    grey, means, digit = page.evaluate(call)
    assert number(page, "nearest") == f"a {digit}"
    assert np.corrcoef(grey, means)[0, 1] < -0.99  # dark ink on white


@pytest.mark.parametrize(("kind", "key", "back"), [("s", "ArrowLeft", "ArrowRight"), ("n", "ArrowUp", "ArrowDown")])
def test_arrow_keys_move_the_needle(opened, kind: str, key: str, back: str) -> None:
    page = opened()
    choose(page, kind)
    start, before, drawn = needle(page), picture(page), picture(page, DIGIT)
    page.locator(CANVAS).focus()
    for _ in range(3):
        page.keyboard.press(key)
    step = np.linalg.norm(needle(page) - start)
    assert step == pytest.approx(2 * np.sin(np.pi / 24) if kind == "s" else 3 * 9 / 40, abs=0.02)
    assert picture(page) != before
    assert picture(page, DIGIT) != drawn
    for _ in range(3):
        page.keyboard.press(back)
    assert np.allclose(needle(page), start)


@pytest.mark.parametrize("kind", SPACES)
def test_what_is_dragged_goes_with_the_pointer(opened, kind: str) -> None:
    page = opened()
    choose(page, kind)
    start = needle(page)
    box = page.locator(CANVAS).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 9, y)
    page.mouse.up()
    now = needle(page)
    if kind == "n":
        assert np.allclose(now - start, [-1, 0], atol=0.02)  # the plane is nine wide
    else:
        assert start @ now == pytest.approx(np.cos(1 / 9 / 0.46), abs=0.02)


def test_the_far_field_is_within_reach(opened) -> None:
    page = opened()
    choose(page, "s")
    assert not page.get_by_role("group", name="Width of the view").is_visible()
    choose(page, "n")
    page.locator("input[value='60']").check(force=True)
    page.locator(CANVAS).focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert np.allclose(needle(page), [15, 0])
    assert float(number(page, "away")) > 8


def test_a_model_that_cannot_be_loaded_is_said(opened) -> None:
    page = opened()
    choose(page, "s")
    page.evaluate("() => { document.head.append = (script) => script.dispatchEvent(new Event('error')); }")
    page.locator("input[value=n]").check(force=True)
    page.wait_for_function("document.querySelector('.explorable').innerText.includes('globe-n.js cannot be loaded')")
