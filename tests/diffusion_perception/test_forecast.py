"""A forecast is what the run then is: parameters, bytes and shapes of the built model, and the sets it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_perception.forecast.figures import lines, memory_of
from diffusion_perception.forecast.training import TrainingForecast
from pipeline.building.plan import size_text
from shards.errors import ConfigError, FingerprintMismatch
from tests.toy_forecasts import built, forecast
from tests.toy_runs import run_settings, write_model, write_set
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.training.step.optim import build_optimizer, named_groups

LEARNED = {"attention_maps": "", "timestep": None}


def batch_of(plan: TrainingForecast) -> DeviceBatch:
    assert plan.sets.sample is not None
    repeated = {name: torch.cat([label] * plan.samples) for name, label in plan.sets.sample.labels.items()}
    text = plan.sets.sample.text
    return DeviceBatch(
        torch.cat([plan.sets.sample.latents] * plan.samples),
        None if text is None else torch.cat([text] * plan.samples),
        repeated,
    )


def really_saved(model: Perception, plan: TrainingForecast) -> tuple[torch.Tensor, int]:
    """The loss of a batch, and the bytes of all buffers that autograd saved for it, weights aside."""
    buffers: dict[int, tuple[torch.Tensor, int]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        buffers[tensor.untyped_storage().data_ptr()] = (tensor, tensor.untyped_storage().nbytes())
        return tensor

    batch = batch_of(plan)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(batch.latents, plan.task.context(batch), plan.task.out_size_px(batch))
        loss = plan.task.loss(outputs, batch)
    weights = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    return loss, sum(size for pointer, (_, size) in buffers.items() if pointer not in weights)


@pytest.mark.parametrize("task", ["refer", "depth", "seg"])
def test_every_figure_is_that_of_a_real_step(task: str, toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    plan = forecast(run_settings(task, toy_sets / task, unet_only, tmp_path))
    assert plan.model is not None
    memory, model = memory_of(plan.model), built(plan)
    optimizer = build_optimizer(named_groups(model, plan.job.optim), plan.job.optim)
    loss, saved = really_saved(model, plan)
    loss.backward()
    optimizer.step()

    trained = [p for p in model.parameters() if p.requires_grad]
    assert memory.parameters == sum(p.numel() for p in model.parameters())
    assert memory.trained == sum(p.numel() for p in trained)
    assert memory.weight_bytes == sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
    assert memory.gradient_bytes == sum(p.grad.nbytes for p in trained if p.grad is not None)
    assert memory.optimiser_bytes == sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    assert [group["name"] for group in plan.groups] == [group["name"] for group in optimizer.param_groups]
    assert plan.activation_bytes["float32"] == pytest.approx(saved, rel=0.1)


def test_activations_follow_checkpointing_and_several_passes(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    """Learned prompts, two passes and a loss that asks for values (Lovász), with and without recomputation."""
    counted = []
    for again in (False, True):
        settings = run_settings("seg", toy_sets / "seg", unet_only, tmp_path)
        settings["backbone"] |= {**LEARNED, "output_head": True, "gradient_checkpointing": again}
        settings["model"] = {
            "prompts": {"count": 6, "passes": 2},
            "head": {"name": "upernet", "channels": 16, "auxiliary_channels": 16},
        }
        settings["task"] |= {"lovasz": 1.0}
        plan = forecast(settings)
        _, saved = really_saved(built(plan), plan)
        assert plan.activation_bytes["float32"] == pytest.approx(saved, rel=0.1)
        counted.append(plan.activation_bytes["float32"])
    assert counted[1] < 0.7 * counted[0]


def test_a_plan_tells_steps_warm_up_groups_memory_and_shapes(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    plan = forecast(run_settings("refer", toy_sets / "refer", unet_only, tmp_path))
    assert plan.model is not None
    text, memory = "\n".join(lines(plan)), memory_of(plan.model)
    assert "6 items, 12 steps of 4 on 2 worker(s), 8.0 epochs" in text
    assert "schedule poly: warm-up of 3 steps to" in text
    assert f"parameters: {memory.parameters:,}, of which {memory.trained:,} are trained" in text
    assert "latents [2, 4, 8, 8] float32, text [2, 7, 32] float32, mask [2, 64, 64] uint8" in text
    assert "context: 7 token(s)" in text
    assert "f2 32 + 7 maps at 1/16" in text
    assert "group backbone_norm" in text
    assert f"activations about {plan.activation_bytes['float32'] / 1e6:.1f} MB in float32 (an estimate" in text


def test_moments_that_workers_share_out_are_counted_once(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    settings = run_settings("refer", toy_sets / "refer", unet_only, tmp_path)
    settings["optim"] |= {"sharded": True}
    plan = forecast(settings)
    assert plan.model is not None
    whole, share = (memory_of(plan.model, shares).optimiser_bytes for shares in (1, 2))
    assert whole / 2 <= share < 0.6 * whole
    assert f"AdamW {size_text(share)} of its share (1 of 2)" in "\n".join(lines(plan))


def test_graphs_that_cannot_be_are_refused_before_a_run(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    settings = run_settings("refer", toy_sets / "refer", unet_only, tmp_path)
    settings["loop"] |= {"cuda_graphs": True}
    with pytest.raises(ConfigError, match=r"loop\.cuda_graphs is true, and this run has 2 workers"):
        forecast(settings, dry=True)


@pytest.mark.parametrize("gpus", [-1, 0, 1])
@pytest.mark.parametrize("norms", ["synchronised", "worker"])
def test_a_compiled_head_whose_norms_gpus_may_join_is_refused_before_a_run(
    norms: str, gpus: int, toy_sets: Path, unet_only: Path, tmp_path: Path
) -> None:
    settings = run_settings("refer", toy_sets / "refer", unet_only, tmp_path)
    settings["run"]["gpus_per_worker"] = gpus
    settings["loop"] |= {"compile_head": True}
    settings["model"] |= {"batch_norm": norms}
    if norms == "worker" or gpus == 0:
        assert forecast(settings).model is not None
        return
    with pytest.raises(ConfigError, match=r"Set model\.batch_norm=worker or loop\.compile_head=false"):
        forecast(settings, dry=True)


def test_both_precisions_are_counted_where_only_the_workers_know(
    toy_sets: Path, unet_only: Path, tmp_path: Path
) -> None:
    settings = run_settings("refer", toy_sets / "refer", unet_only, tmp_path)
    settings["run"]["gpus_per_worker"] = -1
    counted = forecast(settings, dry=True).activation_bytes
    assert list(counted) == ["bfloat16", "float32"]
    assert counted["bfloat16"] != counted["float32"]
    assert forecast(settings).activation_bytes == {"bfloat16": counted["bfloat16"]}, (
        "before a run, one shows that it fits"
    )


def test_a_model_that_is_not_at_hand_is_said_and_the_rest_is_checked(toy_sets: Path, tmp_path: Path) -> None:
    settings = run_settings("refer", toy_sets / "refer", Path("nobody/no-such-model"), tmp_path)
    plan = forecast(settings)
    assert plan.model is None
    assert "not assembled: the sets are of another model than was assumed" in "\n".join(lines(plan))
    for section, key in (("backbone", "nonsense"), ("model", "nonsense")):
        wrong = run_settings("refer", toy_sets / "refer", Path("nobody/no-such-model"), tmp_path)
        (wrong["model"]["head"] if section == "model" else wrong[section])[key] = 1
        with pytest.raises(ConfigError, match=r"unknown setting '(model\.head|backbone)\.nonsense'"):
            forecast(wrong)


@pytest.mark.parametrize(
    ("task", "made", "message"),
    [
        ("refer", {"width": 48}, "has text states 48 wide.* attends to 32"),
        ("refer", {"channels": 8}, "holds latents of 8 channels.* reads 4"),
        ("depth", {"width": 48}, "class embeddings of .* are 48 wide"),
        ("seg", {"classes": 4}, "class table has 4 rows, the task 5 classes. Set task.classes=4"),
    ],
)
def test_a_set_of_another_kind_of_model_is_refused(
    task: str, made: dict[str, Any], message: str, unet_only: Path, tmp_path: Path
) -> None:
    train = write_set(tmp_path / "set", task, **made)
    with pytest.raises(ConfigError, match=message):
        forecast(run_settings(task, train, unet_only, tmp_path))


def test_the_validation_set_is_held_to_the_same(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    for task, made, message in (
        ("seg", {"classes": 4}, r"data.val \(val\) was built with 4 classes"),
        ("refer", {"weights": "cd"}, "image_encoder.weights"),
    ):
        val = write_set(tmp_path / task / "val", task, **made)
        with pytest.raises((ConfigError, FingerprintMismatch), match=message):
            forecast(run_settings(task, toy_sets / task, unet_only, tmp_path, val))


def test_learned_prompts_leave_the_number_of_classes_to_the_set(
    toy_sets: Path, unet_only: Path, tmp_path: Path
) -> None:
    settings = run_settings("seg", toy_sets / "seg", unet_only, tmp_path)
    settings["backbone"] |= LEARNED
    settings["model"]["prompts"] = {"count": 6}
    assert forecast(settings).sets.tokens == 6
    settings["task"]["classes"] = 9
    with pytest.raises(ConfigError, match="table has 5 rows, the task 9 classes"):
        forecast(settings)


@pytest.mark.parametrize(("task", "side"), [("refer", 7), ("depth", 7), ("seg", 7)])
def test_odd_latents_are_taken_where_the_network_runs_on_them(
    task: str, side: int, unet_only: Path, tmp_path: Path
) -> None:
    settings = run_settings(task, write_set(tmp_path / "set", task, side=side), unet_only, tmp_path)
    plan = forecast(settings)
    loss, saved = really_saved(built(plan), plan)
    assert torch.isfinite(loss)
    assert plan.activation_bytes["float32"] == pytest.approx(saved, rel=0.1)


def test_a_batch_that_cannot_be_normalised_is_refused(toy_sets: Path, unet_only: Path, tmp_path: Path) -> None:
    """UPerNet pools to one value a channel, of which a batch norm needs two."""
    settings = run_settings("seg", toy_sets / "seg", unet_only, tmp_path)
    settings["model"]["head"] = {"name": "upernet", "channels": 16, "auxiliary_channels": 16}
    settings["data"]["batch_size"] = 2
    with pytest.raises(ConfigError, match=r"does not run on 1 sample\(s\) a worker.*more than 1 value per channel"):
        forecast(settings)


def test_a_network_of_another_width_reads_another_number_of_parameters(toy_sets: Path, tmp_path: Path) -> None:
    """The sizes come from the named folder and from nowhere else."""
    wide = write_model(tmp_path / "wide", block_out_channels=[64, 64, 64, 64])
    small = write_model(tmp_path / "small")
    sizes = [forecast(run_settings("refer", toy_sets / "refer", model, tmp_path)).model for model in (wide, small)]
    assert memory_of(sizes[0]).parameters > memory_of(sizes[1]).parameters
