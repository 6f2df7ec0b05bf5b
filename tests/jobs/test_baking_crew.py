"""Bakers of a cluster are killed also where a bake fails, so that the next one finds their resources free."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from diffusion_perception import settings
from diffusion_perception.baking.baker import Baker, kind_of
from diffusion_perception.baking.job import BakeJob
from jobs import baking_crew, cluster
from shards.errors import ConfigError


@pytest.mark.parametrize("moment", ["described", "bake"])
def test_a_bake_that_fails_leaves_no_actor(moment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    killed, started = list[Any](), list[Any]()

    def failed(*_: Any, **__: Any) -> Any:
        raise ConfigError("another model is there")

    class Handle:
        def __init__(self, *given: Any) -> None:
            self.described = SimpleNamespace(remote=lambda: "asked")
            started.append(self)

    ray: Any = ModuleType("ray")
    ray.remote = lambda **options: lambda kind: SimpleNamespace(remote=Handle)
    ray.get = failed if moment == "described" else lambda answer: ({}, {})
    ray.kill = killed.append
    util: Any = ModuleType("ray.util")
    util.ActorPool = object
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.util", util)
    monkeypatch.setattr(cluster, "claim_workers", lambda *_, **__: {"CPU": 1.0})
    monkeypatch.setattr(
        baking_crew, "open_source", lambda job: SimpleNamespace(manifest=SimpleNamespace(shards=[1, 2]))
    )
    monkeypatch.setattr(baking_crew, "bake", failed)
    told = {"model": "m", "set": "s", "out": str(tmp_path / "out"), "layers": ["x"], "workers": 3}
    job = settings.bind(BakeJob, told)
    with pytest.raises(ConfigError, match="another model"):
        baking_crew.spread(kind_of(job), job, Baker, local=False)
    assert len(started) == 2
    assert killed == started
