"""The page of `check` in a browser: nothing is missing, nothing is reported, nothing stands out of its place."""

from __future__ import annotations

import importlib.util
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from jobs import check

H, W = 60, 80
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
LONG = "a_class_with_a_name_that_does_not_end_" * 6
WIDE_PX, NARROW_PX = 1280, 400

# Elements whose text leaves them, or that leave the page, in words.
OUT_OF_PLACE = """() => [...document.body.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).display !== 'inline' || e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.tagName + ': ' + e.textContent.slice(0, 60))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None or importlib.util.find_spec("playwright") is None:
        pytest.skip(f"no browser for the page: needs playwright and one of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 256, (H, W, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def seg(root: Path) -> dict[str, Any]:
    """One picture has no label, one is damaged; a class has a long name."""
    for number in range(4):
        photo(root / f"images/train/{number}.png")
        (root / "labels/train").mkdir(parents=True, exist_ok=True)
        label = np.zeros((H, W), np.uint8)
        label[10:30, 10:40], label[:2] = 1, 255
        Image.fromarray(label).save(root / f"labels/train/{number}.png")
    (root / "labels/train/2.png").unlink()
    (root / "images/train/3.png").write_bytes(b"no picture")
    return {"name": "image_folders", "root": str(root), "classes": [LONG, "<script>alert(1)</script>"]}


def depth(root: Path) -> dict[str, Any]:
    for number in range(3):
        photo(root / f"images/train/{number}.png")
        (root / "depths/train").mkdir(parents=True, exist_ok=True)
        metres = np.linspace(1, 9, H * W, dtype=np.float32).reshape(H, W)
        np.save(root / f"depths/train/{number}.npy", metres)
    units = {"units_per_metre": 1, "max_depth_m": 10, "depth_suffix": ".npy"}
    return {"name": "depth_folders", "root": str(root), **units}


def refer(root: Path) -> dict[str, Any]:
    lines = []
    for number in range(3):
        photo(root / f"images/{number}.png")
        polygon = [[4, 4], [30, 4], [30, 40], [4, 40]]
        lines.append({"image": f"{number}.png", "text": LONG, "polygon": polygon})
        lines.append({"image": f"{number}.png", "text": "nothing", "polygon": []})
    (root / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return {"name": "refer_file", "root": str(root)}


@pytest.mark.parametrize(("folder", "pictures"), [(seg, 4), (depth, 6), (refer, 6)], ids=["seg", "depth", "refer"])
def test_the_page_is_whole_at_any_width(folder: Any, pictures: int, browser: Any, tmp_path: Path) -> None:
    job = {
        "name": "toy",
        "source": folder(tmp_path) | {"splits": ["train"]},
        "splits": ["train"],
        "views": {"name": "exact", "size": 64},
        "image": {"name": "sd_vae", "model": "/absent"},
        "text": {"name": "clip_text", "model": "/absent"},
        "settings": {"max_rejects": 0.6},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    path = tmp_path / "look.html"
    check.run([str(tmp_path / "job.yaml"), f"page={path}"])
    said: list[str] = []
    requests: list[str] = []
    for width in (WIDE_PX, NARROW_PX):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        loaded = page.evaluate("[...document.images].map(image => [image.naturalWidth, image.width])")
        assert len(loaded) == pictures
        assert all(natural > 0 and shown > 40 for natural, shown in loaded)
        assert page.evaluate(OUT_OF_PLACE) == []
        assert page.locator("h2").inner_text() == "train"
        page.close()
    assert said == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_a_page_that_is_not_whole_would_be_noticed(browser: Any) -> None:
    page = browser.new_page(viewport={"width": 300, "height": 300})
    page.set_content(f"<p style='width: 100px'>{LONG}</p><img src='data:image/jpeg;base64,AAAA'>")
    assert page.evaluate(OUT_OF_PLACE) != []
    assert page.evaluate("document.images[0].naturalWidth") == 0
    page.close()
