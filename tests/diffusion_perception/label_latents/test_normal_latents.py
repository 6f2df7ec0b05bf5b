"""Sets with label latents of normals: vectors come back out of them, mirrored where a view is, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from depth_rooms import MODEL, VIEWS, demo_mm, write_rooms

from diffusion_perception import ShardSet
from diffusion_perception.label_latents.maker import LabelLatentMaker, as_encoded, as_vectors
from jobs import label_latents as command
from jobs import program
from shards.geometry.normals import NormalsOf
from shards.geometry.view import View
from shards.verify import find_faults

CAMERA = (80.0, 80.0, 40.0, 22.0)
WINDOW_PX, TOLERANCE = 3, 0.02
FULL = View((64, 80), (0, 0, 80, 64), (64, 80), (0, 0, 80, 64))
MIRRORED = View((64, 80), (0, 0, 80, 64), (64, 80), (0, 0, 80, 64), flip=True)
SQUEEZED = View((64, 40), (0, 0, 80, 64), (64, 40), (0, 0, 40, 64))
ENLARGED = View((64, 64), (20, 8, 68, 56), (48, 48), (0, 0, 48, 48), flip=True, enlarged_px=(64, 64))


def words(world: Path, out: Path, *more: str) -> list[str]:
    said = [f"model={MODEL}", f"set={world}/rooms", f"out={out}", "label=normals", "batch_size=4", "device=cpu"]
    return [*said, f"intrinsics={list(CAMERA)}", f"window_px={WINDOW_PX}", *more]


def whole(number: int) -> np.ndarray:
    return NormalsOf(CAMERA, WINDOW_PX, TOLERANCE)(demo_mm(number).astype(np.float32) / 1000, "a")


class Means:
    """An encoder that stores means of 8 x 8 pixels."""

    fingerprint: ClassVar = {"encoder": "means"}

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.float32)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        cells = pixels.reshape(len(pixels), 3, 8, 8, 8, 8).mean(axis=(3, 5))
        return {"latent": np.concatenate([cells, cells[:, :1]], axis=1).astype(np.float16)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("normal_latents")
    write_rooms(root / "rooms", depth=demo_mm)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LabelLatentMaker, "encoder", Means())
        command.run(words(root, root / "labelled"))
    return root


def test_views_that_mirror_negate_x_and_views_that_resize_keep_unit_length() -> None:
    normals = whole(0)
    straight, mirrored = as_vectors(normals, FULL), as_vectors(normals, MIRRORED)
    assert np.abs(straight.values[0]).max() > 0, "something looks to the side, if only by the fit"
    np.testing.assert_array_equal(mirrored.values[0], -straight.values[0][:, ::-1])
    np.testing.assert_array_equal(mirrored.values[1:], straight.values[1:, :, ::-1])
    np.testing.assert_array_equal(mirrored.measured, straight.measured[:, ::-1])
    for view in (FULL, MIRRORED, SQUEEZED, ENLARGED, *VIEWS):
        shown = as_vectors(normals, view)
        assert shown.values.shape == (3, *view.size_px)
        lengths = np.linalg.norm(shown.values, axis=0)
        np.testing.assert_allclose(lengths[shown.measured], 1, rtol=1e-5)
        assert not lengths[~shown.measured].any()
        assert 0.3 < shown.measured.mean() < 1


def test_the_vectors_of_a_cell_are_in_its_latent(world: Path) -> None:
    assert list(find_faults(world / "labelled")) == []
    made, rooms = ShardSet.open(world / "labelled"), ShardSet.open(world / "rooms")
    names = [field.name for field in made.schema.fields]
    assert names == ["latent", "label_latent", "label_mask", "depth", "meta"]
    said = made.manifest.recipe["label_latents"]
    assert {name: said[name] for name in ("label", "intrinsics", "window_px", "tolerance")} == {
        "label": "normals",
        "intrinsics": list(CAMERA),
        "window_px": WINDOW_PX,
        "tolerance": TOLERANCE,
    }
    assert not {"space", "quantile"} & set(said)
    seen = 0
    for number in range(4):
        record = made.record(number)
        np.testing.assert_array_equal(record.array("depth"), rooms.record(number).array("depth"))
        for place, view in enumerate(VIEWS):
            shown = np.stack([as_encoded(channel, view) for channel in np.moveaxis(whole(number), 2, 0)])
            shown[0] *= -1 if view.flip else 1
            mask = record.array("label_mask")[place].astype(bool)
            cells = shown.any(axis=0).reshape(8, 8, 8, 8).all(axis=(1, 3))
            np.testing.assert_array_equal(mask, cells)
            means = shown.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4))
            np.testing.assert_allclose(record.array("label_latent")[place][:3][:, mask], means[:, mask], atol=1e-3)
            seen += int(mask.sum())
    assert seen > 100


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["intrinsics=[]"], "expected the camera's [fx, fy, cx, cy]"),
        (["intrinsics=[518.858,519.470,325.582,253.736]"], "the camera's centre is at column 325.582"),
        (["window_px=4"], "expected an odd number from 3"),
        (["space=disparity"], "which are of label=depth"),
        (["label=depth"], "intrinsics, window_px and tolerance are of label=normals"),
        (["label=depth", "intrinsics=[]"], "intrinsics, window_px and tolerance are of label=normals"),
        (["label=normal"], "label"),
        (["set={world}/labelled"], "holds label latents already"),
    ],
)
def test_what_cannot_be_is_one_message(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    more = [word.replace("{world}", str(world)) for word in more]
    assert program.status("jobs.label_latents", words(world, tmp_path / "labelled", *more)) == 1
    assert said in capsys.readouterr().err


def test_a_shard_of_which_nothing_can_be_learned_is_said(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run(words(world, tmp_path / "labelled", "window_px=63"))
    assert "WARNING: no cell of the 2 records of shard 0 is known all over" in capsys.readouterr().out


def test_a_dry_run_says_the_fields_that_there_will_be(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run([*words(world, tmp_path / "labelled"), "--dry-run"])
    out: Any = capsys.readouterr().out
    assert "plan: label_latent: float16 [4, 8, 8] a view" in out
    assert "label_ends" not in out
    assert "of these views' cells are measured throughout" in out
