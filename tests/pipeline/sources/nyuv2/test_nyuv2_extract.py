"""The extracted test split is the one that is published: numbers, folders, depth bit for bit, pictures up to JPEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.nyuv2_world import write_nyuv2_world
from jobs import extract_nyuv2
from pipeline.sources.nyuv2.extract import extract_split
from pipeline.sources.nyuv2.source import build
from shards.errors import ConfigError

REAL = {"playroom": (0, 432), "reception_room": (1, 463)}  # room -> number in the sample, published number


@pytest.fixture(scope="module")
def extracted(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("extracted")
    folder = realdata / "nyuv2"
    assert extract_split(folder / "nyu_depth_v2_labeled.mat", folder / "splits_sample.mat", out) == 3
    return out / "nyu_depth_v2/official_splits/test"


@pytest.mark.parametrize("room", REAL)
def test_extracted_pairs_equal_the_published_ones(realdata: Path, extracted: Path, room: str) -> None:
    number, published = REAL[room]
    official = realdata / "nyuv2/nyu_depth_v2/official_splits/test" / room
    depth, expected = (
        np.asarray(Image.open(path))
        for path in (extracted / room / f"sync_depth_{number:05d}.png", official / f"sync_depth_{published:05d}.png")
    )
    assert depth.dtype == np.uint16
    np.testing.assert_array_equal(depth, expected)
    with (
        Image.open(extracted / room / f"rgb_{number:05d}.jpg") as ours,
        Image.open(official / f"rgb_{published:05d}.jpg") as theirs,
    ):
        assert ours.quantization == theirs.quantization, "same quality"  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_allclose(np.asarray(ours).astype(int), np.asarray(theirs).astype(int), atol=2)
        assert np.asarray(ours)[:5].max() < 8, "black border"


def test_the_command_makes_a_tree_that_the_source_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_nyuv2_world(tmp_path / "mat", {"train": 2, "test": 3})
    extract_nyuv2.run([f"root={root}", f"out={tmp_path / 'tree'}"])
    assert "wrote 3 pairs of the test split" in capsys.readouterr().out
    frames, pairs = build(root, form="mat"), build(tmp_path / "tree")
    for number, key in zip(frames.keys("test"), pairs.keys("test"), strict=True):
        one, other = frames.load("test", number), pairs.load("test", key)
        assert other.meta["file_name"] == one.meta["file_name"]
        assert other.meta["class_id"] == one.meta["class_id"]
        metres, payload = one.labels["depth"], tmp_path / "tree/nyu_depth_v2/official_splits/test"
        assert isinstance(metres, np.ndarray)
        millimetres = np.asarray(Image.open(payload / other.meta["depth_name"]))
        np.testing.assert_array_equal(millimetres, np.floor(metres * np.float32(1000)))
        assert ((millimetres == 0) == (metres < 1e-3)).all()


def test_an_existing_list_is_kept(tmp_path: Path) -> None:
    root = write_nyuv2_world(tmp_path, {"train": 1, "test": 1})
    official = tmp_path / "filenames/nyudepthv2/test_list.txt"
    official.parent.mkdir(parents=True)
    official.write_text("/official/rgb.jpg /official/depth.png\n")
    extract_nyuv2.run([f"root={root}"])
    assert official.read_text().startswith("/official")


def test_a_setting_the_command_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="root"):
        extract_nyuv2.run(["rot=data/nyuv2"])
