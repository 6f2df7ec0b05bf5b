"""`picture` on the demo's pre-trained model: one PNG of layers, words or matches, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs import picture, program

ROOT = Path(__file__).resolve().parents[2]


def words(folder: Path, kind: str, *more: str) -> list[str]:
    image = folder / "a.png"
    rows = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(rows).resize((96, 64)).save(image)
    said = [f"model={ROOT}/demo/pretrained", f"image={image}", f"out={folder}/drawn/it.png"]
    return [kind, *said, "device=cpu", "side_px=128", *more]


@pytest.mark.parametrize(
    ("kind", "more", "width"),
    [
        ("pca", ["layers=[up_blocks.0, up_blocks.1]"], 2 * 96),
        ("attention", ["prompt=a red ball"], 3 * 96),
        ("attention", ["prompt=a red ball", "words=ball"], 96),
        ("match", ["other=SAME", "layers=[up_blocks.1]", "points=[[20, 30]]"], 2 * 96 + 8),
    ],
)
def test_a_picture_is_drawn(tmp_path: Path, kind: str, more: list[str], width: int) -> None:
    picture.run(words(tmp_path, kind, *(word.replace("SAME", f"{tmp_path}/a.png") for word in more)))
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "it.png"))
    assert drawn.shape[1] == width
    assert drawn.shape[0] == 64 if kind == "match" else drawn.shape[0] > 64, "captions are below"
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("pca", [], "picture pca needs layers="),
        ("attention", ["layers=[up_blocks.1]"], "picture attention needs prompt="),
        ("attention", ["prompt=a ball", "words=cube"], "'cube' is no word of the prompt"),
        ("match", ["layers=[up_blocks.1]"], "picture match needs other="),
        ("match", ["other=a.png", "layers=[up_blocks.1]", "points=[[96, 3]]"], "point [96, 3] lies outside"),
        ("pca", ["layers=[up_blocks.1]", "out=it.jpg"], "expected a file *.png"),
        ("pca", ["layers=[up_blocks.1]", "out=s3://bucket/it.png"], "out=s3://bucket/it.png: a picture goes to a file"),
        ("attention", ["prompt=a ball", "words=a b c d e f g h i j k l m"], "words names 13, expected 12 at most"),
    ],
)
def test_what_cannot_be_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, more: list[str], said: str
) -> None:
    assert program.status("jobs.picture", words(tmp_path, kind, *more)) == 1
    assert said in capsys.readouterr().err
