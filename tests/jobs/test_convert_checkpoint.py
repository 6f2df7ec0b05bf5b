"""The command: files, runs and folders in, folders out, and a report of every key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from diffusion_perception.assembly.network import build_model
from diffusion_perception.assembly.parts import build_task
from diffusion_perception.blueprints import from_pretrained
from diffusion_perception.settings import bind, to_plain
from diffusion_perception.train_job import TrainJob
from diffusion_perception.trained import load_trained
from jobs import convert_checkpoint
from shards.contract.schema import Field, Schema
from shards.errors import ConfigError, SchemaMismatch
from tests.golden_files import GoldenSet
from vpd.exchange.pretrained import read_blueprint
from vpd.model.regimes import apply_regime
from vpd.training.checkpoints.checkpoint import CheckpointStore


@pytest.fixture(scope="session")
def published(golden: GoldenSet) -> Callable[[str], Path]:
    """The path of a recorded checkpoint in its published form."""
    return golden.checkpoint


@pytest.fixture(params=["full", "lora"])
def run_folder(tiny_sd: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A run's folder with one checkpoint, as training writes it."""
    settings = {
        "run": {"name": "run", "out": str(tmp_path)},
        "task": {"name": "refer"},
        "backbone": {"name": "sd_unet", "model": str(tiny_sd), "map_levels": [4]},
        "data": {"train": "/sets/tiny-train"},
        "model": {"latent_scale": 0.5, "train": request.param},
    }
    fields = [
        Field("latent", "npy", "float16", ("V", 4, 8, 8), "view"),
        Field("tokens", "npy", "int32", ("S", 12), "sentence"),
        Field("text", "npy", "float16", ("S", 12, 64), "sentence"),
        Field("meta", "json"),
    ]
    return written_run(settings, Schema(tuple(fields), "sentence"))


def written_run(settings: dict[str, Any], schema: Schema) -> Path:
    """The folder of a run with these settings, with random weights in its one checkpoint."""
    job = bind(TrainJob, settings)
    state = {
        "config": to_plain(job),
        "schema": schema.to_json(),
        "recipe": {},
        "class_names": [],
        "step": 2,
        "train_set": "tiny-train",
    }
    model = apply_regime(build_model(job, build_task(job), schema), job.model)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".lora_B." in name:  # zero before the first step, and then nothing would be merged
                value.normal_(0, 0.1)
    CheckpointStore(job.folder).save(2, {"model": model.state_dict()}, state)
    return Path(job.folder)


def test_an_official_checkpoint_becomes_a_model_folder_with_its_report(
    published: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "depth"
    words = [f"in={published('vpd_depth_last.ckpt')}", f"out={out}", "source=nyuv2", "task.max_depth_m=8"]
    convert_checkpoint.run(words)
    printed = capsys.readouterr().out
    assert "layout vpd_depth" in printed
    assert "missing    142 keys" in printed
    assert f"wrote {out}" in printed
    report = json.loads((out / "report.json").read_text())
    assert len(report["mapped"]) == 839
    assert report["mapped"]["encoder.gamma"] == "adapter.gamma"
    blueprint = read_blueprint(out)
    assert blueprint.task == {"name": "depth", "max_depth_m": 8}
    assert blueprint.class_names[6] == "kitchen"
    assert (out / "vae" / "config.json").is_file()


def test_what_the_weights_cannot_tell_of_kitti_is_given_as_words(
    published: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["task.max_depth_m=80", "task.crop=garg", "size=448"]
    convert_checkpoint.run([f"in={published('metaprompts_depth_best.ckpt')}", f"out={tmp_path / 'kitti'}", *words])
    printed = capsys.readouterr().out
    assert "layout meta_prompts_depth" in printed
    assert "8   second name of the UNet's output head" in printed
    _, blueprint = from_pretrained(tmp_path / "kitti")
    assert blueprint.task == {"name": "depth", "view_fit": "enlarged", "max_depth_m": 80, "crop": "garg"}
    assert (blueprint.size_px, blueprint.tokens, blueprint.head["name"]) == ([448, 448], 50, "prompt_depth")


def test_a_command_line_in_the_file_needs_the_flag(published: Callable[[str], Path], tmp_path: Path) -> None:
    words = [f"in={published('vpd_refer_model_best.pth')}", f"out={tmp_path / 'refer'}"]
    with pytest.raises(ConfigError, match="--allow-namespace"):
        convert_checkpoint.run(words)
    assert not (tmp_path / "refer").exists()
    convert_checkpoint.run([*words, "--allow-namespace"])
    model, blueprint = from_pretrained(tmp_path / "refer")
    assert blueprint.encoders["text"]["length"] == 40
    assert model.backbone.kept == {("up", 2), ("up", 4), ("down", 2), ("down", 4)}


def test_a_plain_model_becomes_a_diffusers_folder_that_a_run_can_name(
    published: Callable[[str], Path], tmp_path: Path
) -> None:
    from vpd.backbones import sd_unet

    convert_checkpoint.run([f"in={published('ldm_sd_v1_like.ckpt')}", f"out={tmp_path / 'sd'}"])
    assert sd_unet.build(str(tmp_path / "sd")).context_width == 64
    heads, text = json.loads((tmp_path / "sd" / "report.json").read_text())["notes"]
    assert heads.startswith("8 attention heads assumed")
    assert text == "no text encoder in this file"


def test_the_number_of_attention_heads_is_a_word_where_it_is_not_eight(
    published: Callable[[str], Path], tmp_path: Path
) -> None:
    file = f"in={published('ldm_sd_v1_like.ckpt')}"
    convert_checkpoint.run([file, f"out={tmp_path / 'four'}", "heads=4"])
    assert json.loads((tmp_path / "four/unet/config.json").read_text())["attention_head_dim"] == 4
    assert "heads" not in str(json.loads((tmp_path / "four/report.json").read_text())["notes"])
    with pytest.raises(ConfigError, match=r"heads=7: .* which 7 heads cannot share"):
        convert_checkpoint.run([file, f"out={tmp_path / 'seven'}", "heads=7"])
    assert not (tmp_path / "seven").exists()


def test_a_run_becomes_a_model_folder_and_a_diffusers_unet(run_folder: Path, tiny_sd: Path, tmp_path: Path) -> None:
    convert_checkpoint.run([f"in={run_folder}", f"out={tmp_path / 'model'}", "checkpoint=last"])
    model, blueprint = from_pretrained(tmp_path / "model")
    trained = load_trained(str(run_folder), "last", torch.device("cpu"))
    inputs = torch.randn(1, 4, 8, 8), torch.randn(1, 12, 64), (64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(*inputs), trained.model(*inputs), rtol=0, atol=1e-5)
    assert (blueprint.tokens, blueprint.size_px, blueprint.encoders["text"]["length"]) == (12, [64, 64], 12)

    for source in (run_folder, tmp_path / "model"):
        out = tmp_path / f"unet-of-{source.name}"
        convert_checkpoint.run([f"in={source}", f"out={out}", "to=diffusers", "checkpoint=last"])
        exported = load_file(out / "unet" / "diffusion_pytorch_model.safetensors")
        for name, value in trained.model.backbone.unet.state_dict().items():
            assert torch.equal(exported[name], value)
        base = UNet2DConditionModel.from_pretrained(tiny_sd, subfolder="unet", torch_dtype=torch.float32)
        assert torch.equal(exported["conv_out.weight"], base.conv_out.weight)  # type: ignore[attr-defined]
        UNet2DConditionModel.from_pretrained(out / "unet")


def test_a_run_with_learned_prompts_goes_the_same_ways(tiny_sd: Path, tmp_path: Path) -> None:
    """Its UNet has an output head and no time MLP, which comes back from the model the run began with."""
    settings = {
        "run": {"name": "run", "out": str(tmp_path)},
        "task": {"name": "depth"},
        "backbone": {
            "name": "sd_unet",
            "model": str(tiny_sd),
            "attention_maps": "",
            "timestep": None,
            "output_head": True,
        },
        "data": {"train": "/sets/tiny-train"},
        "model": {"prompts": {"count": 5, "passes": 2}, "head": {"name": "prompt_depth", "hidden": 16}},
    }
    schema = Schema((Field("latent", "npy", "float16", ("V", 4, 8, 8), "view"), Field("meta", "json")), "view")
    run = written_run(settings, schema)
    convert_checkpoint.run([f"in={run}", f"out={tmp_path / 'model'}", "checkpoint=last"])
    model, blueprint = from_pretrained(tmp_path / "model")
    trained = load_trained(str(run), "last", torch.device("cpu"))
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(latents, None, (64, 64)), trained.model(latents, None, (64, 64)))
    assert (blueprint.tokens, trained.tokens, blueprint.class_table) == (5, 5, None)
    for source in (run, tmp_path / "model"):
        out = tmp_path / f"unet-of-{source.name}"
        convert_checkpoint.run([f"in={source}", f"out={out}", "to=diffusers", "checkpoint=last"])
        exported = load_file(out / "unet" / "diffusion_pytorch_model.safetensors")
        assert torch.equal(exported["conv_out.weight"], trained.model.backbone.unet.conv_out.weight)
        base: Any = UNet2DConditionModel.from_pretrained(tiny_sd, subfolder="unet", torch_dtype=torch.float32)
        assert torch.equal(exported["time_embedding.linear_1.weight"], base.time_embedding.linear_1.weight)
        UNet2DConditionModel.from_pretrained(out / "unet")


def test_depth_without_output_head_needs_a_base(published: Callable[[str], Path], tmp_path: Path) -> None:
    words = [f"in={published('vpd_depth_last.ckpt')}", f"out={tmp_path / 'out'}", "to=diffusers"]
    with pytest.raises(ConfigError, match="lacks conv_norm_out"):
        convert_checkpoint.run(words)
    convert_checkpoint.run([*words, f"base={published('ldm_sd_v1_like.ckpt')}"])
    UNet2DConditionModel.from_pretrained(tmp_path / "out" / "unet")


def test_what_cannot_be_converted_is_refused_before_anything_is_written(
    published: Callable[[str], Path], tiny_sd: Path, tmp_path: Path
) -> None:
    depth, out = published("vpd_depth_last.ckpt"), tmp_path / "out"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for words, match in (
        ([f"in={tiny_sd}"], "a diffusers folder: it needs no conversion"),
        ([f"in={tmp_path}/absent"], "nothing convertible there"),
        ([f"in={depth}", f"out={tmp_path / 'full'}"], "there is something already"),
        ([f"in={depth}", "task.max_depth=8"], "unknown setting 'task.max_depth'"),
        ([f"in={depth}", "task=refer"], "the task is read from the checkpoint"),
        (
            [f"in={depth}", "source={name: image_folders, root: /x, classes: [a, b]}"],
            "2 classes, the checkpoint's table 27",
        ),
        ([f"in={published('ldm_sd_v1_like.ckpt')}", "to=model"], "no head for a task"),
    ):
        with pytest.raises(ConfigError, match=match):
            convert_checkpoint.run([f"out={out}", *words])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"backbone.weight": torch.ones(1)}, foreign)
    with pytest.raises(SchemaMismatch, match="none of the checkpoints"):
        convert_checkpoint.run([f"out={out}", f"in={foreign}"])
    assert not out.exists()
