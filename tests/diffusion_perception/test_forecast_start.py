"""A run that begins from weights, its own or another's: a forecast refuses those of another network, set or batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffusion_perception.forecast.figures import lines
from shards.errors import ConfigError, ContractError, FingerprintMismatch
from tests.toy_forecasts import built, forecast
from tests.toy_runs import run_settings, write_set
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.resume import save_run
from vpd.training.step.optim import build_optimizer, named_groups


@pytest.fixture
def begun(toy_sets: Path, unet_only: Path, tmp_path: Path) -> dict[str, Any]:
    """The settings of a run with a finished checkpoint at step 5."""
    settings = run_settings("refer", toy_sets / "refer", unet_only, tmp_path)
    plan = forecast(settings)
    model = built(plan)
    optimizer = build_optimizer(named_groups(model, plan.job.optim), plan.job.optim)
    store = CheckpointStore(plan.job.folder)
    save_run(store, 5, model, optimizer, plan.sets.train.manifest, 4, {}, {"config": settings, "class_names": ()})
    return settings


def test_a_run_that_goes_on_says_where(begun: dict[str, Any]) -> None:
    assert forecast(begun).step == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"batch_size": 8}}, "batch_size 4, now it is 8"),
        ({"model": {"head": {"hidden": 24}}}, r"saved from another network.*\n  head\.conv1_4\.weight"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(begun: dict[str, Any], change: dict[str, Any], message: str) -> None:
    for section, values in {**change, "run": {"allow_changed": True}}.items():
        begun[section] = {**begun.get(section, {}), **values}
    with pytest.raises(ConfigError, match=message):
        forecast(begun)


def test_another_build_of_the_set_is_refused(begun: dict[str, Any], tmp_path: Path) -> None:
    begun["data"]["train"] = begun["data"]["val"] = str(write_set(tmp_path / "again", "refer", weights="cd"))
    with pytest.raises(FingerprintMismatch, match=r"image_encoder\.weights"):
        forecast(begun)


def test_a_model_to_begin_from_must_be_the_same_network(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    settings = run_settings("refer", toy_sets / "refer", unet_only, tmp_path)
    settings["model"]["init"] = str(tmp_path / "start")
    with pytest.raises(ContractError, match=r"cannot be read.*expected a model folder"):
        forecast(settings)
    (tmp_path / "start").mkdir()
    settings["model"]["init"] = ""
    weights = built(forecast(settings)).state_dict()
    save_file(dict(weights), tmp_path / "start" / "model.safetensors")
    settings["model"]["init"] = str(tmp_path / "start")
    assert forecast(settings).model is not None
    save_file(
        {name: value for name, value in weights.items() if "adapter" not in name}, tmp_path / "start/model.safetensors"
    )
    with pytest.raises(ContractError, match="keys missing: adapter"):
        forecast(settings)


def test_weights_are_not_held_against_an_assumed_backbone(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    """They may be right where the assumption is wrong: of a model that is not cached here, nobody knows."""
    from safetensors.torch import save_file

    settings = run_settings("seg", toy_sets / "seg", unet_only, tmp_path)
    settings["backbone"] |= {"attention_maps": "", "timestep": None}
    settings["model"]["prompts"] = {"count": 6}
    (tmp_path / "start").mkdir()
    save_file(dict(built(forecast(settings)).state_dict()), tmp_path / "start" / "model.safetensors")
    settings["model"]["init"] = str(tmp_path / "start")
    settings["backbone"]["model"] = "nobody/another"
    plan = forecast(settings)
    assert plan.model is not None
    assert "nobody/another is not in the local cache" in plan.assumed


def test_changed_settings_are_refused_and_told_where_they_are_allowed(begun: dict[str, Any]) -> None:
    begun["optim"] = {**begun["optim"], "lr": 3e-4}
    with pytest.raises(ConfigError, match=r"optim\.lr: 5e-05 -> 0\.0003"):
        forecast(begun)
    begun["run"]["allow_changed"] = True
    assert "changed since that step: optim.lr: 5e-05 -> 0.0003" in list(lines(forecast(begun)))
