"""The Python of README.md, docs/predict.md and docs/models.md runs as it is shown, on what is small and at hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_predictor import scene

from diffusion_perception.predicting.video_files import VideoFacts, VideoWriter
from tests.toy_runs import write_set

ROOT = Path(__file__).resolve().parents[3]
BLOCKS = {
    name: re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    for name in ("README.md", "docs/predict.md", "docs/models.md")
}
AT_HAND = {"https://example.org/b.jpg": "b.jpg"}  # no network in tests


def run(block: str, names: dict[str, Any]) -> dict[str, Any]:
    for there, here in AT_HAND.items():
        block = block.replace(there, here)
    exec(compile(block, "a page", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def there(tmp_path: Path, model_folder: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what the pages name."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/refcoco-vpd").symlink_to(model_folder("refer"))
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner/nyuv2-vpd").symlink_to(model_folder("depth"))  # a folder of that name comes before the hub
    write_set(tmp_path / "data/shards/refcoco-unc-val", "refer")
    for number, name in enumerate("ab"):
        Image.fromarray(scene(60, 80, number)).save(tmp_path / f"{name}.jpg")
    facts = VideoFacts(0, 0, 0, Fraction(30), Fraction(1, 90000), Fraction(1))
    with VideoWriter(tmp_path / "clip.mp4", facts) as video:
        for frame in range(25):
            video.add(scene(32, 48, frame // 5), Fraction(frame, 5))
    monkeypatch.chdir(tmp_path)


def test_these_are_all_there_are() -> None:
    assert {name: len(blocks) for name, blocks in BLOCKS.items()} == {
        "README.md": 2,
        "docs/predict.md": 2,
        "docs/models.md": 1,
    }


def test_the_readme_s_pictures_are_predicted_on(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(BLOCKS["README.md"][0], {})
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["a.jpg", "b.jpg"]
    assert all(0 <= float(line.split()[1]) <= 1 for line in said), "a share, and no error"
    assert tuple(names["logits"].shape) == (2, 60, 80)


def test_the_readme_s_set_is_read_both_ways() -> None:
    names = run(BLOCKS["README.md"][1], {})
    assert names["record"].array("latent").shape == (1, 4, 8, 8)
    last = BLOCKS["README.md"][1].strip().splitlines()[-1]
    (first, *_) = eval(last, names)
    assert first["latent.npy"].shape == (1, 4, 8, 8)


def test_the_page_s_pictures_and_video_are_predicted_on(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(BLOCKS["docs/predict.md"][0], {})
    assert names["mask"].shape == (60, 80)
    assert tuple(names["logits"].shape) == (1, 2, 60, 80)
    assert capsys.readouterr().out == "", "no picture failed"
    run(BLOCKS["docs/predict.md"][1], names)
    numbers = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert numbers == [["15", "3.0"], ["20", "4.0"]]


def test_a_model_is_published_from_python(tmp_path: Path) -> None:
    run(BLOCKS["docs/models.md"][0], {})
    assert {"model.safetensors"} <= {path.name for path in (tmp_path / "models/half").iterdir()}
