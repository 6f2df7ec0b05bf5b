"""Every way in which workers may add up gradients and share moments out gives what one worker gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from toy_training import ToyNetwork

from vpd.model.device_batch import DeviceBatch
from vpd.tasks import Task, depth
from vpd.training.settings import ExchangeConfig, OptimConfig
from vpd.training.step.exchange import ddp_options, with_hook
from vpd.training.step.gradients import backward
from vpd.training.step.optim import build_optimizer, named_groups
from vpd.training.step.sharded import ShardedAdamW, largest_share, own_share, whole_state
from vpd.training.worker import Worker

STEPS, SAMPLES = 3, 4
INNERMOST = "moments shared out, channels innermost"
CASES: dict[str, tuple[ExchangeConfig, bool, int]] = {  # settings; moments shared out; size of a part
    "plain": (ExchangeConfig(), False, 0),
    "buckets apart": (ExchangeConfig(bucket_view=False), False, 0),
    "static graph": (ExchangeConfig(static_graph=True), False, 0),
    "shared out, in parts": (ExchangeConfig(), True, 1),
    "bfloat16": (ExchangeConfig(dtype="bfloat16"), False, 0),
    "moments shared out": (ExchangeConfig(), True, 0),
    INNERMOST: (ExchangeConfig(), True, 0),
    "everything": (ExchangeConfig(bucket_view=False, static_graph=True), True, 0),
}


def task() -> Task:
    return depth.build(crop="none", loss="per_image")


def batch(step: int, rows: slice = slice(None)) -> DeviceBatch:
    draw = torch.Generator().manual_seed(step)
    latents = torch.randn(SAMPLES, 4, 8, 8, generator=draw)
    metres = 1 + 8 * torch.rand(SAMPLES, 64, 64, generator=draw)
    labels = {"depth": metres[rows], "class_id": torch.zeros(SAMPLES, dtype=torch.int64)[rows]}
    return DeviceBatch(latents[rows], None, labels)


def trained(worker: Worker, case: str, resumed: dict[str, Any] | None = None) -> dict[str, Any]:
    """Weights and moments after STEPS steps, on the first worker; from another run's first step, if that is given."""
    exchange, sharded, part = CASES[case]
    model = ToyNetwork().eval()  # no dropout, and norms that do not look at the batch
    if case == INNERMOST:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    settings = OptimConfig(lr=1e-2, preset="depth", sharded=sharded)
    optimizer = build_optimizer(named_groups(model, settings), settings, worker)
    wrapped: Any = model
    if worker.world > 1:
        wrapped = with_hook(DistributedDataParallel(model, **ddp_options(exchange)), exchange)
        assert isinstance(optimizer, ShardedAdamW) == sharded
    share = SAMPLES // worker.world
    rows = slice(worker.rank * share, worker.rank * share + share)
    found: dict[str, Any] = {}
    if resumed:
        model.load_state_dict(resumed["weights"])
        for name, parameter in model.named_parameters():
            optimizer.state[parameter] = {key: value.clone() for key, value in resumed["moments"][name].items()}
        own_share(optimizer)
    for step in range(1 if resumed else 0, STEPS):
        backward(wrapped, task(), batch(step, rows), worker, micro_batch=part)
        optimizer.found_inf = torch.zeros(())  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        own = sum(value.numel() for state in optimizer.state.values() for value in state.values())
        with whole_state(optimizer):
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            moments = {
                name: {key: value.clone() for key, value in optimizer.state.get(parameter, {}).items()}
                for name, parameter in model.named_parameters()
            }
            found[f"step {step + 1}"] = {"weights": weights, "moments": moments, "own": own}
    return found


def take_part(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    worker, found = Worker(rank, 2), {}
    for case in CASES:
        found[case] = trained(worker, case)
    first = [found["moments shared out"]["step 1"]]
    dist.broadcast_object_list(first, 0)
    found["gone on"] = trained(worker, "moments shared out", first[0])
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("two")
    spawn(take_part, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in tensors.values()])


@pytest.mark.parametrize("case", CASES)
def test_two_workers_give_what_one_gives(case: str, ranks: list[dict[str, Any]]) -> None:
    """bfloat16 rounds each gradient to 8 bits, which AdamW's first steps hardly see; all others are exact but for the
    order of sums."""
    alone = trained(Worker(), "plain")[f"step {STEPS}"]
    limit = 5e-3 if case == "bfloat16" else 1e-4
    for found in ranks:
        apart = flat(found[case][f"step {STEPS}"]["weights"]) - flat(alone["weights"])
        assert apart.norm() <= limit * flat(alone["weights"]).norm()
    for name, moments in alone["moments"].items():
        for key, value in moments.items():
            torch.testing.assert_close(
                ranks[0][case][f"step {STEPS}"]["moments"][name][key], value, rtol=0.1, atol=limit
            )


def test_gradients_in_bfloat16_are_rounded(ranks: list[dict[str, Any]]) -> None:
    exact, rounded = (flat(ranks[0][case]["step 1"]["weights"]) for case in ("plain", "bfloat16"))
    assert not torch.equal(exact, rounded)


def test_moments_are_kept_once_and_resumed_exactly(ranks: list[dict[str, Any]]) -> None:
    whole = ranks[0]["plain"]["step 1"]["own"]
    shares = [found["moments shared out"]["step 1"]["own"] for found in ranks]
    assert sum(shares) == whole
    assert max(shares) < whole
    assert max(shares) == sum(2 * one.numel() + 1 for one in largest_share(ToyNetwork().parameters(), 2))  # forecast
    for found in ranks:
        last, again = (found[run][f"step {STEPS}"]["weights"] for run in ("moments shared out", "gone on"))
        assert all(torch.equal(last[name], again[name]) for name in last)
