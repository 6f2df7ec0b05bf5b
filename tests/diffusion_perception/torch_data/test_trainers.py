"""The page's examples for Ray Train and the Trainer of transformers, run as they are: nothing twice, nothing lost.

`make peers` runs them: importing one and starting the other takes longer than all other tests of streams together.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from test_reading_sets_page import run

from diffusion_perception import SetStream
from tests.toy_runs import write_set

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not os.environ.get("DIFFUSION_PERCEPTION_PEERS"), reason="trainers read sets in `make peers`"),
]
PASSES = 3


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_set(tmp_path / "sets" / "scenes", "seg")


class Net(torch.nn.Module):
    """Remembers the keys that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = torch.nn.Conv2d(4, 1, 1), []

    def forward(self, latent: torch.Tensor, key: list[str], **others: Any) -> dict[str, torch.Tensor]:
        self.seen.append(key)
        return {"loss": self.layer(latent.float()).square().mean()}


def test_the_trainer_of_transformers_goes_on_with_the_batch_behind_a_checkpoint(scenes: Path) -> None:
    fit = run("In the Trainer of transformers")["fit"]
    stream = SetStream(scenes, 2, seed=1)
    expected = [batch["key"] for _ in range(PASSES) for batch in stream]
    whole = Net()
    fit(whole)
    assert whole.seen == expected
    for step in (2, 3, 7):
        rest = Net()
        fit(rest, f"out/checkpoint-{step}")
        assert rest.seen == expected[step:]


def test_workers_of_ray_train_share_every_batch(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # of a cluster of this machine alone
    monkeypatch.setenv("RAY_worker_niceness", "0")  # on a busy machine workers would get next to nothing
    names = run("In Ray Train")

    def told(settings: dict[str, Any]) -> None:
        def remembered(net: torch.nn.Module) -> torch.nn.Module:
            net = prepare(net)
            net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
            return net

        seen: list[torch.Tensor] = []
        own = train.__globals__  # of the copy that Ray has made of the example
        prepare, own["prepare_model"] = own["prepare_model"], remembered
        train(settings)
        torch.save(seen, tmp_path / f"{ray.train.get_context().get_world_rank()}.pt")

    train, names["train"] = names["train"], told
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    try:
        names["fit"](str(scenes), str(tmp_path / "runs"))
    finally:
        ray.shutdown()
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    stream = SetStream(scenes, 4, seed=1)
    expected = [batch["latent"].float() for _ in range(2) for batch in stream]
    together = [torch.cat(both) for both in zip(*shares, strict=True)]
    assert len(together) == len(expected) == 3
    assert all(map(torch.equal, together, expected))
