"""Training with a share of the sentences left out: which, what they have in place, and the same after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_jobs import train_here, train_settings

from diffusion_perception.assembly.companions import build_encoders, empty_sentence, needed_encoders
from diffusion_perception.assembly.parts import build_task
from diffusion_perception.assembly.run import build_parts
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from pipeline.encoders import clip_text
from shards.contract.manifest import Manifest
from shards.errors import ConfigError, FingerprintMismatch
from shards.reading.caption_drop import CaptionDrop
from shards.reading.reader import ShardSet
from vpd.backbones import Companions
from vpd.training.feeding import Parts, open_stream
from vpd.training.worker import Worker

CPU = torch.device("cpu")
Samples = list[list[tuple[int, bytes, bool]]]  # of every step: item, what the network is told, whether it is without


def job_of(sets: Path, tiny_sd: Path, out: Path, **over: Any) -> TrainJob:
    return bind(TrainJob, train_settings(sets, tiny_sd, out, over=over))


def samples(job: TrainJob, parts: Parts, field: str, start: int, stop: int, workers: int) -> Samples:
    """As one worker or several are fed; whether a sample is without is read off its bytes."""
    empty = parts.encoders.empty[field].tobytes() if parts.encoders.empty else b""
    streams = [open_stream(job.training, parts, Worker(rank, workers), start, stop) for rank in range(workers)]
    steps = []
    for batches in zip(*streams, strict=True):
        rows = [pair for one in batches for pair in zip(one.items.tolist(), one.arrays[field], strict=True)]
        steps.append([(item, row.tobytes(), row.tobytes() == empty) for item, row in rows])
    return steps


@pytest.mark.parametrize("field", ["text", "tokens"])
def test_the_same_samples_are_without_on_any_workers(
    field: str, sets: Path, token_sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    chosen = sets if field == "text" else token_sets
    plain, job = (job_of(chosen, tiny_sd, tmp_path, **{"data.caption_drop": share}) for share in (0, 0.3))
    parts = build_parts(job, CPU)
    whole = samples(job, parts, field, 0, 12, 1)
    for workers in (2, 4):
        assert whole == samples(job, parts, field, 0, 5, workers) + samples(job, parts, field, 5, 12, workers)
    told = [one for step in whole for one in step]
    assert 0.15 < sum(without for _, _, without in told) / len(told) < 0.45
    with_all = [one for step in samples(plain, build_parts(plain, CPU), field, 0, 12, 1) for one in step]
    for (item, row, without), (item_before, row_before, _) in zip(told, with_all, strict=True):
        assert item == item_before
        assert without or row == row_before
    encoder = clip_text.build(str(tiny_sd), length=12)
    tokens = encoder.tokenize([""])
    expected = tokens[0] if field == "tokens" else encoder.encode(tokens)[0].astype(np.float16)
    np.testing.assert_allclose(parts.encoders.empty[field], expected, atol=1e-3)
    assert (parts.encoders.text is not None) == (field == "tokens")


def test_a_mixture_drops_by_the_pass_of_a_set_and_the_number_in_the_mixture(
    sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    """Two sets, the second one thrice as often as the first: the same samples on any workers, those that are drawn by
    seed, the pass over their own set, and their number in the mixture."""
    mix = {"data.mix": {"sets": [{"set": str(sets / "tiny-val"), "weight": 3}], "weight": 1}}
    plain, job = (job_of(sets, tiny_sd, tmp_path, **mix, **{"data.caption_drop": share}) for share in (0, 0.3))
    parts = build_parts(job, CPU)
    whole = samples(job, parts, "text", 0, 24, 1)
    for workers in (2, 4):
        assert whole == samples(job, parts, "text", 0, 7, workers) + samples(job, parts, "text", 7, 24, workers)
    told = [one for step in whole for one in step]
    first = ShardSet.open(sets / "tiny-train").n_items
    size = (first, ShardSet.open(sets / "tiny-val").n_items)
    seen, dropped = [0, 0], [0, 0]
    drop = CaptionDrop(0.3, parts.encoders.empty)
    for item, _, without in told:
        of = int(item >= first)
        expected = drop.of(job.loop.seed, np.array([seen[of] // size[of]]), np.array([item]))
        assert without == expected[0]
        seen[of] += 1
        dropped[of] += without
    assert seen[1] == 3 * seen[0] > 3 * size[1], "several passes over the second"
    assert min(dropped) > 0
    with_all = [one for step in samples(plain, build_parts(plain, CPU), "text", 0, 24, 1) for one in step]
    for (item, row, without), (item_before, row_before, _) in zip(told, with_all, strict=True):
        assert item == item_before
        assert without or row == row_before


def test_a_run_that_was_stopped_drops_as_one_that_was_not(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    over = {"data.caption_drop": 0.4, "loop.steps": 20, "loop.eval_every_steps": 20, "loop.save_every_steps": 10}
    whole = train_here(train_settings(sets, tiny_sd, tmp_path / "whole", over=over))
    train_here(train_settings(sets, tiny_sd, tmp_path / "halves", over={**over, "loop.stop_after_steps": 10}))
    resumed = train_here(train_settings(sets, tiny_sd, tmp_path / "halves", over=over))
    assert list(resumed) == list(range(1, 21))
    assert resumed == pytest.approx(whole, rel=1e-6)
    without = {**over, "data.caption_drop": 0.0, "loop.stop_after_steps": 2}
    assert train_here(train_settings(sets, tiny_sd, tmp_path / "all", over=without)) != {n: whole[n] for n in (1, 2)}
    with pytest.raises(ConfigError, match=r"data\.caption_drop: 0\.4 -> 0\.2"):
        train_here(train_settings(sets, tiny_sd, tmp_path / "halves", over={**over, "data.caption_drop": 0.2}))


def test_with_states_and_with_tokens_it_is_the_same_run(
    sets: Path, token_sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    over = {"data.caption_drop": 0.5, "optim.lr": 5e-5, "loop.steps": 3}
    states = train_here(train_settings(sets, tiny_sd, tmp_path / "a", over=over))
    tokens = train_here(train_settings(token_sets, tiny_sd, tmp_path / "b", over=over))
    assert tokens == pytest.approx(states, rel=1e-3)


def test_a_dry_run_knows_that_the_text_encoder_is_read(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    schema = Manifest.load(sets / "tiny-train").schema
    companions = Companions("sd_vae", "clip_text")
    for share, kinds in ((0.0, set()), (0.1, {"text"})):
        job = job_of(sets, tiny_sd, tmp_path, **{"data.caption_drop": share})
        assert set(needed_encoders(job, companions, schema)) == kinds


def test_what_cannot_be_dropped_is_refused(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"caption_drop is 1\.5; expected a share of the samples, from 0 to 1"):
        job_of(sets, tiny_sd, tmp_path, **{"data.caption_drop": 1.5})
    job = job_of(sets, tiny_sd, tmp_path, **{"data.caption_drop": 0.1})
    for name, options in (("depth", {}), ("seg", {"classes": 3}), ("pose", {})):
        with pytest.raises(ConfigError, match=f"caption_drop is 0.1, but task {name} reads no sentences"):
            build_task(replace(job, task={"name": name, **options}))
    manifest, companions = Manifest.load(sets / "tiny-train"), Companions("sd_vae", "clip_text")
    with pytest.raises(ConfigError, match=r"the set's recipe names none \(text_encoder\)"):
        build_encoders(job, companions, manifest.schema, {"source": {}}, CPU)
    other = {**manifest.recipe["text_encoder"], "weights": "another"}
    with pytest.raises(FingerprintMismatch, match="text encoder of this configuration is not the one"):
        build_encoders(job, companions, manifest.schema, {"text_encoder": other}, CPU)

    class Loud:
        def tokenize(self, sentences: list[str]) -> np.ndarray:
            return np.zeros((len(sentences), 3), np.int32)

        def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
            return np.full((*tokens.shape, 2), np.inf, np.float16)

    with pytest.raises(ConfigError, match="does not fit in float16"):
        empty_sentence(Loud(), "text")
