"""ECoDepth's condition from the build to a picture of no set: trained, resumed, evaluated, predicted, published."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_jobs import build_here, train_here, train_settings

from demo.ade20k_world import CLASSES as ADE_CLASSES
from demo.ade20k_world import write_ade20k_world
from demo.nyuv2_world import write_nyuv2_world
from diffusion_perception import Predictor, plugins
from diffusion_perception.assembly.network import context_tokens
from diffusion_perception.assembly.parts import build_task
from diffusion_perception.evaluation import EvaluateJob, Evaluator
from diffusion_perception.forecast.training import forecast_training
from diffusion_perception.report.features import features_of
from diffusion_perception.report.predictions import ExampleOptions
from diffusion_perception.report.runs import read_run
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from diffusion_perception.trained import load_trained
from shards.errors import ConfigError, FingerprintMismatch, SchemaMismatch
from shards.reading.reader import ShardSet
from tests.tiny_vit import CLASSES, SIDE_PX, WIDTH, write_vit
from vpd.inference.evaluate import evaluate

ROWS = 6
SEG = {"train": "training", "val": "validation"}
VIEWS = {"name": "depth_tiles", "size": [128, 192]}  # whole pictures of 120 x 160, as shipped for 480 x 640


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vit(tmp_path_factory.mktemp("vit"), size=SIDE_PX, image_mean=[0.4, 0.5, 0.6])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nyuv2_world(tmp_path_factory.mktemp("world"), {"train": 4, "test": 2})


def built(world: Path, tiny_sd: Path, out: Path, vision: dict[str, Any] | None, name: str = "depth") -> Path:
    build_here(
        {
            "name": name,
            "source": {"name": "nyuv2", "form": "mat", "root": str(world)},
            "splits": ["train", "test"],
            "views": {"name": "depth", "mode": "k", "k": 2, "crop": [120, 160], "size": [128, 192]},
            "views_of": {"test": VIEWS},
            "image": {"name": "sd_vae", "model": str(tiny_sd)},
            "out": str(out),
            **({"vision": vision} if vision else {}),
        }
    )
    return out


@pytest.fixture(scope="module")
def sets(world: Path, model: Path, tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(world, tiny_sd, tmp_path_factory.mktemp("sets"), {"name": "vit", "model": str(model)})


def settings(sets: Path, model: Path, tiny_sd: Path, out: Path, **over: Any) -> dict[str, Any]:
    chosen = {
        "run.name": "eco", "data.train": str(sets / "depth-train"), "data.val": str(sets / "depth-test"),
        "data.batch_size": 2, "data.eval_batch_size": 4, "loop.steps": 4, "loop.eval_every_steps": 4,
        "loop.save_every_steps": 2, "model.head": {"width": 32, "hidden": 16}, "model.latent_scale": 0.18215,
        "model.vision": {"classes": ROWS, "hidden": 8}, "backbone.attention_maps": "", "optim.preset": "ecodepth",
        "encoders.vision": {"name": "vit", "model": str(model)}, **over,
    }  # fmt: skip
    return train_settings(sets, tiny_sd, out, over=chosen) | {
        "task": {"name": "depth", "crop": "none", "crop_padding": False}
    }


@pytest.fixture(scope="module")
def run(sets: Path, model: Path, tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    train_here(settings(sets, model, tiny_sd, out))
    return out / "eco"


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_trained(str(run), "last", torch.device("cpu")).model.state_dict()


def test_it_trains_and_goes_on_to_the_same_weights(
    run: Path, sets: Path, model: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    whole = weights_of(run)
    assert whole["adapter.embeddings"].shape[0] == ROWS
    assert whole["adapter.fc.0.weight"].shape == (8, CLASSES)
    assert "class_embeddings" not in whole, "no class of the room is told"
    halves = settings(sets, model, tiny_sd, tmp_path)
    train_here(halves | {"loop": {**halves["loop"], "stop_after_steps": 2}})
    begun = weights_of(tmp_path / "eco")
    assert (begun["adapter.embeddings"] != whole["adapter.embeddings"]).any(), "the table learns"
    train_here(halves)
    found = weights_of(tmp_path / "eco")
    assert all(torch.equal(found[name], value) for name, value in whole.items())


def test_a_picture_is_predicted_as_evaluation_predicts_its_record(
    run: Path, sets: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vpd.tasks.depth.task.blend_of", lambda record: "mean")  # evaluation's; a picture has no seams
    predictor = Predictor(str(run), "last", device="cpu", views=VIEWS)
    source = plugins.build_plugin(plugins.SOURCES, {"name": "nyuv2", "form": "mat", "root": str(world)}, "source")
    shards, task = ShardSet.open(sets / "depth-test"), predictor.task
    kept: dict[str, np.ndarray] = {}

    def look(record: Any, outputs: torch.Tensor) -> None:
        kept[record.key] = task.predictions(record, outputs).numpy()

    trained = predictor.trained
    generator = torch.Generator().manual_seed(0)
    for parameter in trained.model.parameters():  # after four steps it still says the same depth everywhere
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    evaluate(trained.model, task, shards, batch_size=4, vision=True, on_record=look)
    told: list[np.ndarray] = []
    assert predictor.encoding.vision is not None
    encode = predictor.encoding.vision.encode
    predictor.encoding.vision.encode = lambda pixels: told.append(encode(pixels)["vision"]) or {"vision": told[-1]}
    for number in range(2):
        record = shards.record(number)
        found = predictor(np.asarray(source.load("test", record.key).image))
        np.testing.assert_allclose(np.concatenate(told), record.array("vision"), atol=2e-3)
        told.clear()
        np.testing.assert_allclose(found, kept[record.key], atol=1e-3)
        assert np.ptp(found) > 0.1
    scored = Evaluator(bind(EvaluateJob, {"run": str(run), "checkpoint": "last"})).part(str(sets / "depth-test"))
    assert scored is not None


def test_published_it_takes_the_encoder_along(run: Path, tmp_path: Path) -> None:
    predictor = Predictor(str(run), "last", device="cpu", views=VIEWS)
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    predictor.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "vit" / "model.safetensors").is_file()
    assert "ECoDepth's condition" in (tmp_path / "model" / "README.md").read_text()
    moved = shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    again = Predictor.from_pretrained(str(moved), device="cpu", views=VIEWS)
    np.testing.assert_allclose(again(image), predictor(image), atol=1e-4)


def test_a_report_shows_what_its_backbone_makes_of_a_record(run: Path) -> None:
    found = features_of(read_run(str(run)), ExampleOptions(0, features=True), print)
    assert [what[:2] for what, _ in found.records[0].shown[1:]] == ["f1", "f2", "f3", "f4"]


def test_a_run_is_forecast_with_and_without_its_sets(sets: Path, model: Path, tiny_sd: Path, tmp_path: Path) -> None:
    there = forecast_training(bind(TrainJob, settings(sets, model, tiny_sd, tmp_path)))
    assert (there.sets.tokens, there.sets.table) == (1, None)
    assert there.activation_bytes
    missing = settings(sets, model, tiny_sd, tmp_path, **{"data.train": str(tmp_path / "none"), "data.val": ""})
    imagined = forecast_training(bind(TrainJob, missing), dry=True)
    assert imagined.sets.lacking
    assert imagined.model is not None
    assert there.model is not None
    shapes = [{name: tuple(v.shape) for name, v in one.state_dict().items()} for one in (there.model, imagined.model)]
    assert shapes[0] == shapes[1]


def test_what_does_not_belong_together_is_refused(
    run: Path, sets: Path, world: Path, model: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    def forecast(**over: Any) -> None:
        forecast_training(bind(TrainJob, settings(sets, model, tiny_sd, tmp_path, **over)))

    with pytest.raises(ConfigError, match=r"encoders\.vision names no encoder"):
        forecast(**{"encoders.vision": {}})
    with pytest.raises(ConfigError, match=r"holds 10 numbers .* encoders\.vision says 16"):
        forecast(**{"encoders.vision": {"name": "vit", "model": str(model), "says": "state"}})
    refer = bind(TrainJob, settings(sets, model, tiny_sd, tmp_path) | {"task": {"name": "refer"}})
    with pytest.raises(ConfigError, match="task refer finds what a sentence says"):
        context_tokens(refer, build_task(refer), ShardSet.open(sets / "depth-test").schema)
    plain = built(world, tiny_sd, tmp_path / "plain", None)
    with pytest.raises(SchemaMismatch, match="built without a `vision` encoder"):
        forecast(**{"data.train": str(plain / "depth-train")})
    with pytest.raises(SchemaMismatch, match="depth-test holds nothing"):
        Evaluator(bind(EvaluateJob, {"run": str(run)})).part(str(plain / "depth-test"))
    other = {"name": "vit", "model": str(write_vit(tmp_path / "vit", seed=1))}
    others = built(world, tiny_sd, tmp_path / "others", other)
    with pytest.raises(FingerprintMismatch, match=r"(?s)vision encoder.*Set encoders.vision"):
        Evaluator(bind(EvaluateJob, {"run": str(run)})).part(str(others / "depth-test"))
    with pytest.raises(FingerprintMismatch, match=r"vision_encoder\.weights"):
        forecast(**{"data.val": str(others / "depth-test")})


def test_a_prediction_with_another_encoder_is_refused(run: Path, tmp_path: Path) -> None:
    """The run's folder says where the encoder lies; what lies there now is another one."""
    trained = load_trained(str(run), "last", torch.device("cpu"))
    assert trained.encoder("vision").fingerprint["encoder"] == "vit"
    recorded = trained.recipe["vision_encoder"]
    recorded["weights"] = "0" * 64
    with pytest.raises(FingerprintMismatch, match="vision encoder of this configuration is not the one"):
        trained.encoder("vision")


def test_segmentation_is_told_of_the_picture_as_well(model: Path, tiny_sd: Path, tmp_path: Path) -> None:
    pictures = write_ade20k_world(tmp_path / "ade20k", {"training": 2, "validation": 1})
    build_here(
        {
            "name": "seg",
            "source": {"name": "ade20k", "root": str(pictures)},
            "splits": ["training", "validation"],
            "views": {"name": "exact", "size": 128},
            "image": {"name": "sd_vae", "model": str(tiny_sd)},
            "vision": {"name": "vit", "model": str(model), "says": "state"},
            "out": str(tmp_path / "sets"),
        }
    )
    own = {"name": "vit", "model": str(model), "says": "state"}
    over = {"model.head": {"channels": 16}, "loop.steps": 1, "loop.eval_every_steps": 1, "encoders.vision": own}
    over |= {f"data.{split}": str(tmp_path / "sets" / f"seg-{name}") for split, name in SEG.items()}
    job = settings(tmp_path, model, tiny_sd, tmp_path, **over) | {"task": {"name": "seg", "classes": len(ADE_CLASSES)}}
    train_here(job)
    predictor = Predictor(str(tmp_path / "eco"), "last", device="cpu")
    assert predictor.trained.model.state_dict()["adapter.fc.0.weight"].shape == (8, WIDTH)
    assert predictor(np.zeros((96, 128, 3), np.uint8)).shape == (1, len(ADE_CLASSES), 96, 128)
