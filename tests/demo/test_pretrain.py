"""Pre-training of the demo's tiny Stable Diffusion, cut to seconds, and the card of what it leaves."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from demo.__main__ import OUT
from demo.phrases import referents
from demo.pretrain import autoencoder, latents
from demo.pretrain.__main__ import arguments, main
from demo.pretrain.budget import Budget
from demo.pretrain.captions import WORDS, caption_of
from demo.pretrain.folder import digest_of, minutes_of
from demo.pretrain.pool import scene_of

NO_MINUTES = ("--minutes", "0", "--decoder-minutes", "0")
SMALL = ("--scenes", "24", "--decoder-scenes", "8", "--held-out", "8", "--batch", "4", "--sample-steps", "2")


def pretrain(out: Path, steps: int, *more: str) -> list[dict]:
    threads = torch.get_num_threads()
    main(
        [
            *NO_MINUTES,
            *SMALL,
            "--out",
            str(out),
            "--steps",
            str(steps),
            "--decoder-steps",
            "6",
            "--threads",
            str(threads),
            *more,
        ]
    )
    return logged(out)


def logged(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _rendered_once() -> Iterator[None]:
    """The runs here draw the same scenes, and need no exact scale."""
    known = functools.cache(autoencoder.pictures)
    with pytest.MonkeyPatch.context() as patch:
        for module in (autoencoder, latents):
            patch.setattr(module, "pictures", known)
        patch.setattr(autoencoder, "SCALE_SCENES", 16)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrain")
    pretrain(out, steps=24)
    return out


def test_held_out_losses_fall(run: Path) -> None:
    log = logged(run)
    for stage, share in (("unet", 0.95), ("decoder", 0.9)):
        first, *_, last = [entry["held_out_loss"] for entry in log if entry["stage"] == stage]
        assert last < share * first, stage


def test_what_it_leaves_is_a_pipeline_of_diffusers_with_a_card_of_its_weights(run: Path) -> None:
    pipeline: Any = StableDiffusionPipeline.from_pretrained(run / "tiny-sd", torch_dtype=torch.float32)
    drawn = pipeline("a red circle", num_inference_steps=1, height=64, width=64, output_type="np").images[0]
    assert drawn.shape == (64, 64, 3)
    assert np.isfinite(drawn).all()
    assert not [path for path in run.rglob("tiny-sd/**/*.json") if str(run) in path.read_text()]
    card = (run / "tiny-sd" / "README.md").read_text()
    assert digest_of(run / "tiny-sd") in card
    assert re.search(r"\| unet \| 24 \| \d\.\d{4} \|", card)


def test_an_interrupted_run_goes_on_and_a_finished_one_is_left_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, clock = digest_of(run / "tiny-sd"), time.monotonic
    monkeypatch.setattr("demo.pretrain.budget.time.monotonic", lambda: clock() + 1000)  # a while later
    *_, last, again = [entry for entry in pretrain(run, steps=24) if entry["stage"] == "unet"]
    assert last["step"] == again["step"] == 24
    assert again["trained_s"] < last["trained_s"] + 500, "what is between two runs is no training"
    assert digest_of(run / "tiny-sd") == before
    assert [entry["step"] for entry in pretrain(run, steps=28) if entry["stage"] == "unet"][-1] == 28
    assert digest_of(run / "tiny-sd") != before


def test_training_goes_on_from_the_weights_of_another_folder(run: Path, tmp_path: Path) -> None:
    *_, before = [entry for entry in logged(run) if entry["stage"] == "unet"]
    first, *_ = pretrain(tmp_path, 2, "--start", str(run / "tiny-sd"))
    assert first["held_out_loss"] == pytest.approx(before["held_out_loss"], rel=0.01), "float16 on disk, and no more"
    assert "_name_or_path" not in (tmp_path / "tiny-sd/vae/config.json").read_text()
    card = (tmp_path / "tiny-sd" / "README.md").read_text()
    assert f"the weights of digest `{digest_of(run / 'tiny-sd')[:12]}`" in card


def test_captions_say_what_is_there_in_words_the_encoder_knows() -> None:
    random = np.random.default_rng(0)
    told = 0
    for number in range(40):
        scene = scene_of(0, number)
        caption = caption_of(scene, random)
        assert set(caption.split()) <= set(WORDS)
        for part in re.sub("^(a photo of )?(a room with )?", "", caption).split(" and "):
            if part not in ("a pole", "pebbles on the floor"):
                assert referents(part, scene)
                told += 1
    assert told > 60


def test_the_rate_ends_with_the_budget_of_steps_or_of_minutes() -> None:
    budget = Budget(steps=1000)
    assert [budget.share(step) for step in (0, 500, 1000)] == [0, 0.5, 1]
    assert budget.rate(0) < 0.1 < budget.rate(500) < 0.6 < budget.rate(100)
    assert budget.rate(1000) == pytest.approx(0.01)
    assert Budget(steps=1000, minutes=1, spent_s=45).share(0) == pytest.approx(0.75, abs=0.01)
    assert Budget(steps=1000, minutes=1, spent_s=61).share(0) == 1


def test_a_card_counts_minutes_of_training_however_often_a_stage_was_begun_again() -> None:
    trained_s = [("unet", 0.0), ("unet", 90.0), ("unet", 120.0), ("decoder", 0.0), ("unet", 120.0), ("decoder", 30.0)]
    assert minutes_of([{"stage": stage, "trained_s": seconds} for stage, seconds in trained_s]) == 2.5


def test_minutes_count_from_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("demo.pretrain.budget.time.monotonic", lambda: now[0])
    budget = Budget(steps=1000, minutes=1)
    now[0] += 300  # scenes are rendered
    assert budget.share(0) == 0
    now[0] += 30
    assert budget.share(1) == 0.5


def test_what_took_an_hour_is_not_where_the_demo_cleans_up() -> None:
    assert OUT not in [Path.cwd() / folder for folder in arguments([]).out.parents]
