"""What a driver refuses before any worker starts: a set whose latents or text a backbone cannot read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffusion_perception.assembly import fit
from diffusion_perception.assembly.companions import encoder_setting
from diffusion_perception.assembly.parts import build_task
from diffusion_perception.settings import bind
from diffusion_perception.train_job import EncoderConfig, TrainJob
from shards.contract.manifest import Manifest, fingerprint
from shards.contract.schema import Field, Schema
from shards.errors import ConfigError, FingerprintMismatch
from vpd.backbones import BackboneFacts, Companions, LatentLayout, Level

FACTS = BackboneFacts(Companions("sd_vae", "clip_text"), LatentLayout(4, 8), 768, (Level("f1", 8, 8),))
RECIPE = {"image_encoder": {"encoder": "sd_vae"}, "text_encoder": {"encoder": "clip_text"}}
LATENT = Field("latent", "npy", "float16", ("V", 4, 8, 8), "view")
TOKENS = Field("tokens", "npy", "int32", ("S", 12), "sentence")
STATES = Field("text", "npy", "float16", ("S", 12, 768), "sentence")


def job_of(task: str = "refer", **changes: Any) -> TrainJob:
    settings = {
        "run": {"name": "r"},
        "task": task,
        "backbone": {"name": "sd_unet", "model": "m"},
        "data": {"train": "t"},
    }
    return bind(TrainJob, settings | changes)


def set_of(*fields: Field, recipe: dict[str, Any] = RECIPE) -> Manifest:
    return Manifest(
        "toys-train", "train", recipe, fingerprint(recipe), Schema((*fields, Field("meta", "json")), "sentence"), (), {}
    )


def check(manifest: Manifest, facts: BackboneFacts = FACTS, job: TrainJob | None = None) -> None:
    job = job or job_of()
    fit.check_set(job, build_task(job), facts, manifest, "data.train")


def test_a_set_made_for_the_backbone_passes() -> None:
    check(set_of(LATENT, TOKENS, STATES))


def test_latents_of_other_channels_are_refused_with_both_numbers() -> None:
    manifest = set_of(replace(LATENT, shape=("V", 16, 8, 8)), TOKENS, STATES)
    with pytest.raises(ConfigError, match=r"data\.train \(toys-train\) holds latents of 16 channels.*sd_unet reads 4"):
        check(manifest)
    check(manifest, replace(FACTS, assumed="nothing is known"))


def test_text_of_another_width_is_refused_with_both_numbers() -> None:
    manifest = set_of(LATENT, TOKENS, replace(STATES, shape=("S", 12, 1024)))
    with pytest.raises(ConfigError, match=r"text states 1024 wide, backbone sd_unet attends to 768"):
        check(manifest)
    prompts = {"model": {"prompts": {"count": 3}}}
    check(manifest, job=job_of(**prompts))
    check(manifest, job=job_of("depth"))


def test_for_token_ids_the_width_is_that_of_the_encoder_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "text_encoder").mkdir()
    config = {"hidden_size": 64, "max_position_embeddings": 77}
    (tmp_path / "text_encoder" / "config.json").write_text(json.dumps(config))
    job = job_of(backbone={"name": "sd_unet", "model": str(tmp_path)})
    check(set_of(LATENT, TOKENS), replace(FACTS, context_width=64), job)
    with pytest.raises(ConfigError, match="text states 64 wide, backbone sd_unet attends to 768"):
        check(set_of(LATENT, TOKENS), job=job)
    check(set_of(LATENT, TOKENS), job=job_of(backbone={"name": "sd_unet", "model": "nobody/knows"}))


@pytest.mark.parametrize("kind", ["image", "text"])
def test_another_kind_of_encoder_is_refused_unless_it_is_asked_for(kind: str) -> None:
    manifest = set_of(LATENT, TOKENS, STATES, recipe=RECIPE | {f"{kind}_encoder": {"encoder": "lab.other"}})
    with pytest.raises(FingerprintMismatch, match=rf"by the {kind} encoder lab\.other.*set encoders\.{kind}\.name=lab"):
        check(manifest)
    asked = replace(job_of(), encoders=replace(EncoderConfig(), **{kind: {"name": "lab.other"}}))
    check(manifest, job=asked)
    ours = RECIPE["image_encoder"]["encoder"] if kind == "image" else "clip_text"
    with pytest.raises(FingerprintMismatch, match=rf"by the {kind} encoder {ours}, encoders\.{kind} is lab\.other"):
        check(set_of(LATENT, TOKENS, STATES), job=asked)


def test_class_embeddings_of_another_width_are_refused() -> None:
    job = job_of("seg", data={"train": "t", "table": "mine"})
    fit.check_class_rows(job, FACTS, (150, 768))
    with pytest.raises(ConfigError, match=r"class embeddings of mine are 64 wide.*attends to 768"):
        fit.check_class_rows(job, FACTS, (150, 64))


@pytest.mark.parametrize(("size_px", "right"), [([64, 64], True), ([32, 32], False)])
def test_a_latent_pixel_shows_what_the_backbone_was_made_for(size_px: list[int], right: bool) -> None:
    class Shards:
        manifest = set_of(LATENT, TOKENS)
        schema = manifest.schema

        def record(self, index: int) -> Any:
            return type("Record", (), {"meta": {"views": [{"size_px": size_px}]}})

    shards: Any = Shards()
    if right:
        fit.check_stride(FACTS, shards)
    else:
        with pytest.raises(ConfigError, match=r"latents of 8 x 8 for views of 32 x 32 pixels.*stride of 8 pixels"):
            fit.check_stride(FACTS, shards)


def test_encoders_come_from_the_backbones_model_unless_the_run_names_another() -> None:
    backbone = {"name": "sd_unet", "model": "a/model", "revision": "abc"}
    plain = encoder_setting(job_of(backbone=backbone), "image", FACTS.companions)
    assert plain == {"name": "sd_vae", "model": "a/model", "revision": "abc", "dtype": "float32"}
    other = job_of(backbone=backbone, encoders={"model": "b/model", "dtype": "float16"})
    expected = {"name": "clip_text", "model": "b/model", "revision": None, "dtype": "float16", "length": 9}
    assert encoder_setting(other, "text", FACTS.companions, length=9) == expected
    own = job_of(backbone=backbone, encoders={"image": {"name": "sd_vae", "model": "c/model", "logvar": True}})
    expected = {"name": "sd_vae", "model": "c/model", "logvar": True, "dtype": "float32"}
    assert encoder_setting(own, "image", FACTS.companions) == expected
    with pytest.raises(ConfigError, match=r"names no text encoder: set encoders\.text="):
        encoder_setting(own, "text", Companions("sd_vae"))
