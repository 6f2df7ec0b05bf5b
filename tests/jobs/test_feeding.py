"""CPUs and threads of an encoder actor follow from the cluster, unless the settings say."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import pytest

from diffusion_perception.building.builder import BuildJob, Resources
from jobs import feeding
from pipeline.building.recipe import BuildSettings
from shards.errors import ConfigError

JOB = BuildJob("a", {"name": "refcoco"}, ("train",), {"name": "exact"}, {"name": "sd_vae"})


@pytest.mark.parametrize(
    ("nodes", "gpus", "cpus"),
    [
        ([{"CPU": 16, "GPU": 1}], -1, 6),
        ([{"CPU": 16, "GPU": 8}], -1, 2),
        ([{"CPU": 64, "GPU": 8}, {"CPU": 12, "GPU": 4}, {"CPU": 2}], -1, 3),
        ([{"CPU": 2, "GPU": 4}], -1, 1),
        ([{"CPU": 16, "GPU": 1}], 0.5, 3),
        ([{"CPU": 16, "GPU": 2}], 2, 12),
        ([{"CPU": 16, "GPU": 1}], 0, 2),
        ([{"CPU": 16}, {"CPU": 1}], -1, 2),
        ([{"CPU": 1}], -1, 1),
    ],
)
def test_an_actor_gets_its_share_of_the_smallest_node_up_to_what_feeds_a_gpu(
    nodes: list[dict[str, float]], gpus: float, cpus: float
) -> None:
    assert feeding.cpus_for(nodes, gpus) == cpus


def test_a_cluster_without_a_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="no node of the cluster has a CPU"):
        feeding.cpus_for([{"CPU": 0}], -1)


def test_what_the_settings_say_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 1.0}}
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(nodes=lambda: [node]))
    chosen = feeding.fed(JOB)
    assert (chosen.resources.cpus_per_actor, chosen.settings.decode_threads) == (6, 12)
    said = replace(JOB, resources=Resources(cpus_per_actor=1.5), settings=BuildSettings(decode_threads=3))
    assert feeding.fed(said) == said
    words = feeding.words(chosen, 2, 1.0)
    assert words.startswith("2 encoder actor(s) of 6 CPU and 1 GPU each: 12 decoding threads, 2 shards at once")
    assert "about 857 pictures/s" in words
