"""A build's `vision` encoder: a vector of every view beside its latent, in the recipe, the plan and a rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from toy_jobs import build_here

from diffusion_perception import plugins
from diffusion_perception.building.builder import BuildJob, ShardBuilder, placed
from diffusion_perception.building.forecast import forecast_build
from diffusion_perception.settings import bind
from jobs import build_shards
from pipeline.encoders import vit
from pipeline.encoders.vit.encoder import Vit
from pipeline.rendering.geometry import render, to_pixels
from shards.errors import FingerprintMismatch
from shards.geometry.view import View
from shards.reading.joined import SAME_ENCODERS
from shards.reading.reader import ShardSet
from tests.tiny_vit import CLASSES, write_vit


def write_pictures(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for kind, high, channels in (("images", 255, (3,)), ("labels", 3, ())):
        (folder / kind / "train").mkdir(parents=True)
        for number in range(count):
            values = rng.integers(0, high, (40, 48, *channels)).astype(np.uint8)
            Image.fromarray(values).save(folder / kind / "train" / f"{number}.png")
    return folder


def settings(pictures: Path, tiny_sd: Path, out: Path, vision: Path | None) -> dict[str, Any]:
    job: dict[str, Any] = {
        "name": "toy",
        "source": {"name": "image_folders", "root": str(pictures), "classes": ["a", "b", "c"], "splits": ["train"]},
        "splits": ["train"],
        "views": {"name": "segmentation", "mode": "k", "k": 2, "crop": 64, "base": [256, 64]},
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "out": str(out),
        "settings": {"records_per_shard": 3, "image_batch": 4},
    }
    return job | ({"vision": {"name": "vit", "model": str(vision)}} if vision else {})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vit(tmp_path_factory.mktemp("vit"))


def test_a_set_holds_what_the_encoder_says_of_every_view(model: Path, tiny_sd: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 4)
    build_here(settings(pictures, tiny_sd, tmp_path / "sets", model))
    build_here(settings(pictures, tiny_sd, tmp_path / "plain", None))
    shards, plain = ShardSet.open(tmp_path / "sets" / "toy-train"), ShardSet.open(tmp_path / "plain" / "toy-train")
    assert [field.name for field in shards.schema.fields] == ["latent", "vision", "label", "meta"]
    encoder = vit.build(str(model))
    for number in range(4):
        record = shards.record(number)
        image = np.asarray(Image.open(pictures / "images" / "train" / f"{number}.png"))
        views = [View.from_json(view) for view in record.meta["views"]]
        rows = [to_pixels([render(image, v)], v.size_px, pad_before_px=[v.pad_before_px])[0] for v in views]
        found = record.array("vision")
        assert found.shape == (2, CLASSES)
        np.testing.assert_allclose(found, encoder.encode(np.stack(rows))["vision"], atol=1e-3)
        np.testing.assert_array_equal(record.array("latent"), plain.record(number).array("latent"))
    recipe = shards.manifest.recipe
    assert recipe.pop("vision_encoder") == {**encoder.fingerprint, "batch": 4}
    assert {**recipe, "fields": None} == {**plain.manifest.recipe, "fields": None}, "a set without it stays as it was"
    assert any(name.startswith("vision_encoder.weights") for name in SAME_ENCODERS)


def test_another_model_is_another_set_and_a_changed_picture_alone_is_encoded(
    model: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 4)
    job = settings(pictures, tiny_sd, tmp_path / "sets", model)
    build_here(job)
    before = ShardSet.open(tmp_path / "sets" / "toy-train")
    kept = [before.record(number).array("vision") for number in range(4)]
    other = settings(pictures, tiny_sd, tmp_path / "sets", write_vit(tmp_path / "other", seed=1))
    with pytest.raises(FingerprintMismatch, match=r"vision_encoder\.weights"):
        build_here(other)

    changed = np.random.default_rng(9).integers(0, 255, (40, 48, 3)).astype(np.uint8)
    Image.fromarray(changed).save(pictures / "images" / "train" / "2.png")
    shown: list[int] = []
    encode = Vit.encode_levels

    def counted(self: Any, levels: Any) -> Any:
        shown.append(len(levels.shown_px))
        return encode(self, levels)

    monkeypatch.setattr(Vit, "encode_levels", counted)
    build_here(job)
    after = ShardSet.open(tmp_path / "sets" / "toy-train")
    assert sum(shown) == 2, "the two views of the one picture"
    same = [np.array_equal(after.record(number).array("vision"), kept[number]) for number in range(4)]
    assert same == [True, True, False, True]


def test_a_dry_run_counts_it_and_says_what_it_assumes(
    model: Path, tiny_sd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 2)
    job = settings(pictures, tiny_sd, tmp_path / "sets", model)
    _, with_it = forecast_build(placed(bind(BuildJob, job)))
    _, without = forecast_build(placed(bind(BuildJob, settings(pictures, tiny_sd, tmp_path / "sets", None))))
    apart = with_it["train"].estimate.latent_bytes - without["train"].estimate.latent_bytes
    assert apart == 4 * CLASSES * 2
    job["vision"]["model"] = "somebody/some-vit"
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(job))
    build_shards.run(["--config", f"{tmp_path}/build.yaml", "--dry-run"])
    assert "assumed: a vector of 1000 numbers as of ViT-Base" in capsys.readouterr().out


def test_builders_compare_it_and_a_machine_may_differ(model: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """What the driver asks of a worker has its weights, and what computes it on the exact level."""
    job = bind(BuildJob, settings(write_pictures(tmp_path / "pictures", 2), tiny_sd, tmp_path / "sets", model))
    told = ShardBuilder(job).describe("train")
    assert told.environment["encoders"]["vision"]["device"] == "cpu"
    assert told.recipe["vision_encoder"]["encoder"] == "vit"
    assert plugins.describe_plugin(plugins.ENCODERS, job.vision or {}, "vision").width == CLASSES
