"""The gallery, as a person uses it: opened from the disk in a browser without a network."""

import io
import json
import shutil
import time
from argparse import Namespace
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from deploy_helpers import face, files, parse, write_faces
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from deploy.predictor.gallery import gallery_piece, write_gallery
from deploy.predictor.outputs import Writer
from lisa.labels import IDS, NAMES, PALETTE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SKIN, HAIR = IDS["skin"], IDS["hair"]

EVIL = """<script>document.title="hit"<&script>'"&amp; ☃ ünï <img src=x onerror=document.title='hit'>"""


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, "--disable-sync", "--no-first-run"]
        )
        yield launched
        launched.close()


def write_page(folder: Path, names: list[str]) -> Path:
    """A gallery in which a picture's left half is skin, its right half hair, under a strip of background."""
    options = {
        "output": folder,
        "parts": "",
        "cutout": "",
        "fit": "stretch",
        "finds": "",
        "labels": "own",
        "face_maps": "",
    }

    flags = dict.fromkeys(("overlay", "color", "probabilities", "gallery"), True)
    writer = Writer({"labels": list(NAMES), "palette": list(PALETTE)}, Namespace(**options, **flags))
    labels = np.repeat(np.array([[SKIN, HAIR]], np.uint8), 20, axis=1).repeat(50, axis=0)
    labels[:10] = 0
    picture = np.full((50, 40, 3), (250, 240, 10), np.uint8)
    for index, name in enumerate(names):
        (folder / f"{index}.txt").write_bytes(gallery_piece(name, picture, labels, len(NAMES)))
    pieces = [folder / f"{index}.txt" for index in range(len(names))]
    write_gallery(folder / "gallery.html", pieces, len(names), writer.names, writer.palette)
    return folder / "gallery.html"


def open_page(browser: Browser, path: Path, scheme: str = "light") -> tuple[Page, list[str]]:
    """The page, and what went wrong on it: errors, and requests for anything but the file itself."""
    page = browser.new_page(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: wrong.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
    )
    page.goto(path.as_uri())
    return page, wrong


def pixel(page: Page, stage: str, x: float) -> list[int]:
    """RGBA of the painted label map, at that part of its width, in the middle of its height."""
    canvas = f"document.querySelector('{stage} canvas')"
    wait_until(page, f"{canvas}?.ids")
    position = f"{canvas}.width * {x}, {canvas}.height / 2"
    return page.evaluate(f"[...{canvas}.getContext('2d').getImageData({position}, 1, 1).data]")


def wait_until(page: Page, condition: str) -> None:
    """playwright's own wait_for_function evaluates strings inside the page, which its policy forbids."""
    end = time.monotonic() + 600
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def color(label: int) -> list[int]:
    return [*PALETTE[3 * label : 3 * label + 3], 255]


@pytest.mark.slow
def test_what_a_person_does(browser: Browser, tmp_path: Path) -> None:
    page, wrong = open_page(browser, write_page(tmp_path, ["a/anna", "a/Berta", EVIL]))
    assert page.locator(".card").count() == 3
    assert page.locator("#count").inner_text() == "3 pictures"
    assert page.title() == "Parsed faces"  # the third name was shown, not run
    assert page.locator(".card bdi").nth(2).text_content() == EVIL

    assert pixel(page, ".card", 0.25) == color(SKIN)
    assert pixel(page, ".card", 0.75) == color(HAIR)
    page.locator("#legend .class", has_text="skin").click()
    assert pixel(page, ".card", 0.25) == [0, 0, 0, 0]
    assert pixel(page, ".card", 0.75) == color(HAIR)
    page.locator("#legend .class", has_text="skin").click()
    assert pixel(page, ".card", 0.25) == color(SKIN)
    assert "40 %" in page.locator("#legend .class", has_text="hair").inner_text()

    slider = page.locator("header .slider")
    slider.fill("0")
    assert np.abs(seen(page) - (250, 240, 10)).max() < 12  # all picture, but for WebP's losses
    slider.fill("100")
    assert seen(page).tolist() == color(SKIN)[:3]

    page.locator("#search").fill("BERTA")
    assert page.locator(".card:visible bdi").all_text_contents() == ["a/Berta"]
    assert page.locator("#count").inner_text() == "1 of 3 pictures"
    page.locator(".card:visible").click()
    assert page.locator("#detail h2").inner_text() == "a/Berta"
    assert page.locator("#detail p").inner_text() == "40 × 50"
    areas = page.locator("#areas .class").all_inner_texts()
    assert [" ".join(line.split()) for line in areas] == ["skin 40 %", "hair 40 %", "background 20 %"]
    page.locator("#areas .class", has_text="hair").click()
    assert pixel(page, "#detail", 0.75) == [0, 0, 0, 0]
    box = page.locator("#detail .stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 20)
    page.mouse.up()
    assert abs(int(slider.input_value()) - 20) < 5
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()
    assert wrong == []
    page.close()


def seen(page: Page) -> np.ndarray:
    """RGB that the screen shows in the left half of the first picture."""
    shot = Image.open(io.BytesIO(page.locator(".card .stage").first.screenshot()))
    return np.asarray(shot.convert("RGB")).astype(int)[shot.height // 2, shot.width // 4]


@pytest.mark.slow
def test_a_legend_of_many_labels_leaves_the_pictures_room(browser: Browser, tmp_path: Path) -> None:
    many = [f"a_rather_long_name_{index}" for index in range(64)]
    write_gallery(tmp_path / "gallery.html", [], 0, many, list(range(3 * 64)))
    page, wrong = open_page(browser, tmp_path / "gallery.html")
    page.set_viewport_size({"width": 800, "height": 600})
    assert page.evaluate("document.querySelector('header').offsetHeight") < 300
    page.locator("#legend .class", has_text="name_63").click()
    assert not page.locator("#legend input").last.is_checked()
    assert wrong == []
    page.close()


@pytest.mark.slow
def test_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    path = write_page(tmp_path, ["anna"])
    brightness: dict[str, float] = {}
    for scheme in ("light", "dark"):
        page, wrong = open_page(browser, path, scheme)
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = float(np.mean([int(part) for part in color[4:-1].split(",")]))
        assert wrong == []
        page.close()
    assert brightness["light"] > 200
    assert brightness["dark"] < 60


@pytest.mark.slow
def test_five_thousand_pictures_are_decoded_as_they_come_into_view(browser: Browser, tmp_path: Path) -> None:
    page, wrong = open_page(browser, write_page(tmp_path, [f"face {index:04}" for index in range(5000)]))
    page.wait_for_selector(".card canvas")
    assert page.locator("#count").inner_text() == "5000 pictures"
    assert 0 < page.locator("canvas").count() < 200
    page.locator(".card").last.scroll_into_view_if_needed()
    wait_until(page, "document.querySelector('.card:last-child canvas')?.ids")
    wait_until(page, "!document.querySelector('.card:first-child canvas')")
    assert page.locator("canvas").count() < 200
    page.locator("#search").fill("4321")
    assert page.locator(".card:visible").count() == 1
    wait_until(page, "[...document.querySelectorAll('.card')][4321].querySelector('canvas')?.ids")
    assert wrong == []
    page.close()


def rows(page: Path) -> list[str]:
    """Names in a gallery page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    heads = [line.split('data-row="')[1].split('"')[0] for line in lines if 'data-row="' in line[:40]]
    return [json.loads(head.replace("&quot;", '"'))["name"] for head in heads]


def test_gallery_shows_what_is_done_in_this_run_or_before(model: Path, tmp_path: Path) -> None:
    pictures = write_faces(tmp_path / "in", 3)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no picture")
    gallery = tmp_path / "out" / "gallery.html"
    assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    assert parse(model, tmp_path / "in", tmp_path / "out", "--gallery") == 1
    assert rows(gallery) == ["face0", "face1", "face2"]
    assert '"total&quot;: 4' in gallery.read_text().replace("&quot;total", '"total')
    whole = gallery.read_bytes()
    (tmp_path / "out" / "face1.png").unlink()
    gallery.unlink()
    assert parse(model, tmp_path / "in", tmp_path / "out", "--gallery") == 1
    assert gallery.read_bytes() == whole
    pictures[0].unlink()
    face().save(tmp_path / "in" / "new.png")
    (tmp_path / "in" / "face2.jpg").write_bytes(b"broken since")
    assert parse(model, tmp_path / "in", tmp_path / "out", "--gallery") == 1
    assert rows(gallery) == ["face1", "new"]
    assert "gallery/new.txt" in files(tmp_path / "out")
    assert len(gallery.read_bytes()) < 40_000
