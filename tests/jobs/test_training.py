"""Training from shards, in one process: resume, cached against online, states against tokens, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_jobs import build_here, build_settings, train_here, train_settings

from diffusion_perception.assembly.run import build_parts
from diffusion_perception.assembly.sets import check_sets
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from shards.errors import ConfigError, FingerprintMismatch
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.feeding import open_stream
from vpd.training.worker import Worker


@dataclass(frozen=True)
class Run:
    """A run as `train_settings` has it: where it lies, and the loss of each step."""

    out: Path
    losses: dict[int, float]


@pytest.fixture(scope="module")
def whole(sets: Path, tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every step at once. Tests read it, or ask it to go on and are refused."""
    out = tmp_path_factory.mktemp("whole")
    return Run(out, train_here(train_settings(sets, tiny_sd, out)))


def test_stopping_and_resuming_gives_the_losses_of_one_run(
    whole: Run, sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    half = train_here(train_settings(sets, tiny_sd, tmp_path, over={"loop.stop_after_steps": 3}))
    assert list(half) == [1, 2, 3]
    resumed = train_here(train_settings(sets, tiny_sd, tmp_path))
    assert list(resumed) == [1, 2, 3, 4, 5, 6]
    assert resumed == pytest.approx(whole.losses, rel=1e-6)
    first, second = (CheckpointStore(str(out / "run")) for out in (whole.out, tmp_path))
    one, two = (store.load(store.named("last", ""), "model") for store in (first, second))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_notebook_that_trains_computes_on_its_own_threads_again(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)  # and conftest sets it back
    train_here(train_settings(sets, tiny_sd, tmp_path, over={"loop.steps": 1}))
    assert torch.get_num_threads() == 2


def test_losses_fall_and_every_step_has_its_own(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    over = {"loop.steps": 25, "optim.lr": 3e-3}
    losses = list(train_here(train_settings(sets, tiny_sd, tmp_path, over=over)).values())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_any_number_of_workers_resumes_the_same_order(
    sets: Path, tiny_sd: Path, tmp_path: Path, n_workers: int
) -> None:
    job = bind(TrainJob, train_settings(sets, tiny_sd, tmp_path))
    parts = build_parts(job, torch.device("cpu"))

    def items(start: int, stop: int, workers: int) -> list[list[int]]:
        streams = [open_stream(job.training, parts, Worker(r, workers), start, stop) for r in range(workers)]
        per_rank = [[(b.items.tolist(), b.rows.tolist()) for b in stream] for stream in streams]
        return [[pair for rank in step for pair in zip(*rank, strict=True)] for step in zip(*per_rank, strict=True)]

    assert items(0, 3, 1) + items(3, 8, n_workers) == items(0, 8, 1)


def test_cached_and_online_latents_give_the_same_loss(
    whole: Run, sets: Path, world: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    over = {"data.latents": "online", "data.source": {"name": "refcoco", "root": str(world)}}
    online = train_here(train_settings(sets, tiny_sd, tmp_path, over={"loop.stop_after_steps": 3, **over}))
    assert online == pytest.approx({step: whole.losses[step] for step in (1, 2, 3)}, rel=1e-3)


def test_token_ids_and_stored_states_train_to_the_same_losses(
    sets: Path, token_sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    # At the published rate: at the toy's 1e-3 AdamW blows rounding up to 5e-3 in six steps.
    over = {"optim.lr": 5e-5, "loop.steps": 4}
    states = train_here(train_settings(sets, tiny_sd, tmp_path / "a", over=over))
    tokens = train_here(train_settings(token_sets, tiny_sd, tmp_path / "b", over=over))
    both = train_here(train_settings(sets, tiny_sd, tmp_path / "c", over={**over, "data.text": "online"}))
    assert tokens == pytest.approx(states, rel=1e-3)
    assert both == pytest.approx(states, rel=1e-3)
    assert tokens != states, "equal to the last digit means that one of them was not encoded online"


def test_stored_states_cannot_be_asked_of_a_token_set(token_sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds token ids only"):
        train_here(train_settings(token_sets, tiny_sd, tmp_path, over={"data.text": "stored"}))


def test_a_run_refuses_a_rebuilt_set_with_the_difference(
    whole: Run, world: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    build_here(build_settings(world, tiny_sd, tmp_path, settings={"records_per_shard": 5, "image_batch": 4}))
    with pytest.raises(FingerprintMismatch, match=r"records_per_shard.*5.*6|records_per_shard.*6.*5"):
        train_here(train_settings(tmp_path, tiny_sd, whole.out, over={"loop.steps": 8}))


def test_a_run_refuses_another_batch_size(whole: Run, sets: Path, tiny_sd: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 4, now it is 2"):
        train_here(train_settings(sets, tiny_sd, whole.out, over={"loop.steps": 8, "data.batch_size": 2}))


def test_an_online_encoder_with_other_weights_is_refused(token_sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    from demo.tiny_sd import write_tiny_sd

    write_tiny_sd(tmp_path / "other-sd", seed=1)
    job = train_settings(token_sets, tiny_sd, tmp_path, over={"encoders.model": str(tmp_path / "other-sd")})
    with pytest.raises(FingerprintMismatch, match="text encoder of this configuration is not the one"):
        train_here(job)


def test_train_and_val_of_different_encoders_are_refused(
    sets: Path, world: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    from demo.tiny_sd import write_tiny_sd

    other = tmp_path / "other-sd"
    write_tiny_sd(other, seed=1)
    build_here(build_settings(world, other, tmp_path / "sets", splits=["val"]))
    job = train_settings(sets, tiny_sd, tmp_path, over={"data.val": str(tmp_path / "sets" / "tiny-val")})
    with pytest.raises(FingerprintMismatch, match=r"image_encoder\.weights"):
        check_sets(bind(TrainJob, job))


def test_online_latents_need_their_source(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set data\.source"):
        train_here(train_settings(sets, tiny_sd, tmp_path, over={"data.latents": "online"}))


def test_online_latents_refuse_another_dataset(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    from demo.refcoco_world import write_refcoco_world

    write_refcoco_world(tmp_path / "refer", images={"train": 4, "val": 2}, seed=9)
    source = {"name": "refcoco", "root": str(tmp_path / "refer")}
    with pytest.raises(FingerprintMismatch, match="is not what tiny-train was built from"):
        train_here(train_settings(sets, tiny_sd, tmp_path, over={"data.latents": "online", "data.source": source}))


def test_old_checkpoints_go_and_the_best_stays(sets: Path, tiny_sd: Path, tmp_path: Path) -> None:
    over = {"loop.steps": 6, "loop.eval_every_steps": 2, "loop.save_every_steps": 1, "loop.keep_last": 2}
    train_here(train_settings(sets, tiny_sd, tmp_path, over=over))
    store = CheckpointStore(str(tmp_path / "run"))
    best = store.best("oIoU")
    assert best is not None
    assert {c.step for c in store.complete()} == {5, 6, best.step}
