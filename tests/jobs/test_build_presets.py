"""Every build configuration that ships resolves: settings, sources, and views of one size for all splits."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from diffusion_perception import plugins
from diffusion_perception.building.builder import BuildJob
from diffusion_perception.settings import bind, read_file
from shards.errors import SourceError

FILES = sorted((Path(__file__).resolve().parents[2] / "configs" / "build").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_build_resolves(file: Path) -> None:
    job = bind(BuildJob, read_file(str(file)))
    with contextlib.suppress(SourceError):  # its options were understood; the data is not here
        plugins.build_plugin(plugins.SOURCES, job.source, "source")
    assert set(job.views_of) <= set(job.splits)
    plans = [plugins.build_plugin(plugins.VIEWS, job.view_spec(split), "views") for split in job.splits]
    assert len({plan.size_px for plan in plans}) == 1, "one network is trained on one split and evaluated on another"
    height, width = plans[0].size_px
    assert (height % 64, width % 64) == (0, 0), "the UNet halves the latent three times"


@pytest.mark.parametrize(
    ("file", "train", "test"),
    [("kitti", 25, 32), ("kitti_ecodepth", 25, 4), ("nyuv2", 25, 4), ("nyuv2_meta_prompts", 25, 4)],
)
def test_depth_sets_have_a_view_an_epoch_and_the_published_windows(file: str, train: int, test: int) -> None:
    (path,) = (path for path in FILES if path.stem == file)
    job = bind(BuildJob, read_file(str(path)))
    plans = {split: plugins.build_plugin(plugins.VIEWS, job.view_spec(split), "views") for split in job.splits}
    assert {split: plan.views_per_image for split, plan in plans.items()} == {"train": train, "test": test}


def test_kitti_for_ecodepth_shows_crops_and_two_windows_of_the_frame() -> None:
    (path,) = (path for path in FILES if path.stem == "kitti_ecodepth")
    job = bind(BuildJob, read_file(str(path)))
    train, test = (plugins.build_plugin(plugins.VIEWS, job.view_spec(split), "views") for split in ("train", "test"))
    for view in train.views("a picture", 375, 1242):
        left, top, right, bottom = view.box_px
        assert (top, bottom, right - left) == (23, 375, 640)
        assert left >= 13
        assert right <= 13 + 1216
        assert (view.content_px, view.pad_px, view.enlarged_px) == ((352, 640), (32, 0), None)
        assert "cut_depth" not in str(view.to_json())
    assert [(view.window_px[0], view.flip) for view in test.views("a picture", 375, 1242)] == [
        (0, False),
        (576, False),
        (0, True),
        (576, True),
    ]
