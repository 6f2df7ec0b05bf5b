"""The page in a browser: a prediction from upload to files, the other tabs, messages; and what is refused before it."""

from __future__ import annotations

import builtins
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_ui_handlers import PICTURE

from diffusion_perception.ui.job import UiJob
from diffusion_perception.ui.page import MOST_MB, page_of, serve
from jobs import ui
from shards.errors import ConfigError, ContractError
from shards.storage.staging import staging_root
from tests.tiny_pipelines import tiny_pipeline

Models = Callable[[str], str]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDE_PX, NARROW_PX, WAIT_MS = 1280, 400, 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None or importlib.util.find_spec("playwright") is None:
        pytest.skip(f"no browser for the page: needs playwright and one of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def job(model_folder: Models, toy_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> UiJob:
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "tokenizer").mkdir()
    tiny_pipeline("sd15", folder / "tokenizer").save_pretrained(folder / "sd15")
    runs = (model_folder("refer"), model_folder("depth"))
    return UiJob(runs=runs, features=str(folder / "sd15"), set=str(toy_sets / "seg"), side_px=128, device="cpu")


@pytest.fixture(scope="module")
def address(job: UiJob) -> Iterator[str]:
    page = page_of(job)
    yield serve(page, job, wait=False)
    page.close(verbose=False)


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_a_picture_becomes_a_prediction_and_files(width: int, browser: Any, address: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    requests: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.set_default_timeout(WAIT_MS)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.locator("#predict-picture input[type=file]").set_input_files(tmp_path / "a.png")
    page.locator("#predict-picture img").wait_for()
    page.locator("#predict-go").click()
    page.get_by_text("Write what to look for").first.wait_for()
    page.locator(".toast-close").first.click()
    page.locator("#predict-sentence textarea, #predict-sentence input").fill("the red chair")
    page.locator("#predict-go").click()
    page.locator("#predict-drawn img").wait_for()
    with page.expect_download() as begun:
        page.locator("#predict-files a").first.click()
    begun.value.save_as(tmp_path / "prediction.png")
    assert np.asarray(Image.open(tmp_path / "prediction.png")).shape == PICTURE.shape[:2]
    assert page.evaluate("document.querySelector('#predict-drawn img').naturalWidth") == PICTURE.shape[1]

    page.locator("#predict-model input").click()
    page.get_by_role("option", name="depth").click()
    page.locator("#predict-scene").wait_for()
    assert not page.locator("#predict-sentence").is_visible()

    page.get_by_role("tab", name="Features").click()
    page.locator("#features-picture input[type=file]").set_input_files(tmp_path / "a.png")
    page.locator("#features-picture img").wait_for()
    page.locator("#features-go").click()
    page.locator("#features-shown img").first.wait_for()

    page.get_by_role("tab", name="Match").click()
    for name in ("match", "match-other"):
        page.locator(f"#{name}-picture input[type=file]").set_input_files(tmp_path / "a.png")
        page.locator(f"#{name}-picture img").wait_for()
    page.locator("#match-picture img").click()  # in its middle
    page.locator("#match-drawn img").wait_for()

    page.get_by_role("tab", name="Set").click()
    page.locator("#set-next").click()
    page.get_by_text("image1", exact=True).wait_for()
    for tab in ("Set", "Match", "Features", "Predict"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{tab} is wider than the screen"
    page.close()
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


def test_what_is_not_there_is_refused_before_a_page_is_served(
    monkeypatch: pytest.MonkeyPatch, toy_sets: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("jobs.ui.serve", lambda *_: pytest.fail("served"))
    with pytest.raises(ContractError, match="no finished checkpoint"):
        ui.run([str(tmp_path)])
    with pytest.raises(ContractError, match="manifest"):
        ui.run([f"set={tmp_path}"])
    with pytest.raises(ConfigError, match="nobody-here"):
        ui.run(["features=nobody-here"])
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "gradio":
            raise ImportError("No module named 'gradio'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-perception\[ui\]'"):
        ui.run([f"set={toy_sets / 'seg'}"])


def test_an_address_that_is_taken_is_refused(address: str, job: UiJob) -> None:
    taken = UiJob(set=job.set, port=int(address.rstrip("/").rpartition(":")[2]))
    with pytest.raises(ConfigError, match="cannot listen there"):
        serve(page_of(taken), taken, wait=False)


def test_a_large_upload_is_refused_and_others_lie_in_a_folder_of_this_process(
    address: str,
) -> None:
    import httpx

    def upload(size: int) -> httpx.Response:
        return httpx.post(f"{address}gradio_api/upload", files={"files": ("a.bin", b"x" * size)}, timeout=60)

    (kept,) = upload(10).json()
    assert Path(kept).is_relative_to(staging_root())
    assert upload(MOST_MB * 1_100_000).status_code == 413
