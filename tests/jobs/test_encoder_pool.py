"""The first actor is started before the source is read, the others when the shards are known, and all are ended."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from diffusion_perception.building.builder import BuildJob, Resources
from jobs import cluster
from jobs.encoder_pool import EncoderPool
from shards.errors import ConfigError
from tests.jobs.many_pictures import build as open_pictures


class FakeRay(types.ModuleType):
    """One node; every started actor takes its CPUs. `log` is what happened, in order."""

    def __init__(self, cpus: float, held_by_others: float = 0.0) -> None:
        super().__init__("ray")
        self.log: list[str] = []
        self.late_of_each: list[int] = []  # times that nobody has answered yet, of everything that is waited for
        self._cpus, self._others, self._alive = cpus, held_by_others, 0.0

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": self._cpus}}]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self._cpus}

    def available_resources(self) -> dict[str, float]:
        return {"CPU": self._cpus - self._others - self._alive}

    def remote(self, **options: Any) -> Any:
        def of(kind: Any) -> Any:
            def start(*given: Any) -> Any:
                self._alive += options["num_cpus"]
                beside = f" beside {len(given[2])}" if len(given) > 2 and given[2] else ""
                self.log.append(f"start of {options['num_cpus']:g}{beside}")
                call = types.SimpleNamespace(remote=lambda *given: None)
                return types.SimpleNamespace(load_encoders=call, progress=call, take=call, ready=call)

            return types.SimpleNamespace(remote=start, options=lambda name: types.SimpleNamespace(remote=start))

        return of

    def wait(self, asked: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        if self.late_of_each and self.late_of_each[0]:
            self.late_of_each[0] -= 1
            return [], asked
        self.late_of_each = self.late_of_each[1:]
        return asked, []

    def get(self, asked: Any) -> None:
        self.log.append("asked")

    def kill(self, handle: Any) -> None:
        self.log.append("end")


def job_of(actors: int, render_workers: int = 0) -> BuildJob:
    source, encoder = {"name": "tests.jobs.many_pictures"}, {"name": "tests.jobs.plain_encoder"}
    resources = Resources(actors=actors, cpus_per_actor=2, render_workers=render_workers)
    return BuildJob("many", source, ("train",), {"name": "exact"}, encoder, resources=resources)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(ray: FakeRay) -> FakeRay:
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(cluster, "connect", lambda *given: None)
        return ray

    return use


def test_one_actor_starts_before_the_shards_are_known_and_is_not_counted_twice(on: Any) -> None:
    ray = on(FakeRay(cpus=6))
    with EncoderPool(job_of(3), local=False) as pool:
        pool.begin()
        assert ray.log == ["start of 2"]
        job, actors = pool.fill(9, open_pictures())
        assert len(actors) == 3
        assert job.settings.decode_threads == 4
    assert ray.log == ["start of 2", "asked", "start of 2", "start of 2", "end", "end", "end"]


def test_no_more_actors_than_shards(on: Any) -> None:
    ray = on(FakeRay(cpus=6))
    with EncoderPool(job_of(3), local=False) as pool:
        pool.begin()
        assert len(pool.fill(1, open_pictures())[1]) == 1
    assert ray.log == ["start of 2", "asked", "end"]


def test_an_early_start_that_the_cluster_has_no_room_for_says_nothing_yet(on: Any, monkeypatch: Any) -> None:
    ray = on(FakeRay(cpus=6, held_by_others=5))
    monkeypatch.setattr(cluster, "WAIT_S", 0.0)
    with EncoderPool(job_of(3), local=False) as pool:
        pool.begin()
        assert ray.log == []
        with pytest.raises(ConfigError, match=r"3 encoder actor\(s\) of 2 CPU: CPU: needs 6, cluster has 6, free 1"):
            pool.fill(9, open_pictures())
    assert ray.log == []


def test_what_others_hold_is_not_taken_for_the_first_actors(on: Any, monkeypatch: Any) -> None:
    ray = on(FakeRay(cpus=6, held_by_others=1))
    monkeypatch.setattr(cluster, "WAIT_S", 0.0)
    with EncoderPool(job_of(3), local=False) as pool:
        pool.begin()
        with pytest.raises(ConfigError, match="needs 6, cluster has 6, free 3; 1 run already"):
            pool.fill(9, open_pictures())
    assert ray.log == ["start of 2", "asked", "end"]


def test_nothing_is_started_or_ended_where_nothing_began() -> None:
    with EncoderPool(job_of(1), local=False):
        pass


@pytest.mark.parametrize("early", [True, False])
def test_render_workers_take_what_room_the_encoders_leave(on: Any, early: bool) -> None:
    """Encoders know them by name. One that came first might lie where only an encoder has room."""
    ray = on(FakeRay(cpus=6))
    with EncoderPool(job_of(2, render_workers=2), local=False) as pool:
        if early:
            pool.begin()
        pool.fill(9, open_pictures())
    started = [line for line in ray.log if line.startswith("start")]
    assert started == ["start of 2 beside 2", "start of 2 beside 2", "start of 1", "start of 1"]
    assert ray.log.count("end") == 4


def test_render_workers_that_leave_no_room_for_the_encoders_are_refused(on: Any, monkeypatch: Any) -> None:
    ray = on(FakeRay(cpus=6))
    monkeypatch.setattr(cluster, "WAIT_S", 0.0)
    with EncoderPool(job_of(1, render_workers=5), local=False) as pool:
        pool.begin()
        said = r"5 render worker\(s\) of 1 CPU: CPU: needs 5, cluster has 6, free 4.*resources.render_workers=5"
        with pytest.raises(ConfigError, match=said):
            pool.fill(9, open_pictures())
    assert ray.log == ["start of 2 beside 5", "asked", "end"]


def test_render_workers_that_no_node_has_room_for_are_told_of(on: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ray = on(FakeRay(cpus=6))
    ray.late_of_each = [1, 2]
    with EncoderPool(job_of(1, render_workers=2), local=False) as pool:
        pool.begin()
        pool.fill(9, open_pictures())
    said = capsys.readouterr().out
    assert said.count("[ray] 1 of 1 encoder actor(s) have not started yet; `ray status`") == 1
    assert said.count("[ray] 2 of 2 render worker(s) have not started yet; `ray status`") == 2


def test_what_encoders_will_take_is_not_given_to_render_workers(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers fit beside one encoder; that there are three is known when the shards are."""
    on(FakeRay(cpus=6))
    monkeypatch.setattr(cluster, "WAIT_S", 0.0)
    with EncoderPool(job_of(3, render_workers=2), local=False) as pool:
        pool.begin()
        said = r"2 render worker\(s\) of 1 CPU: CPU: needs 6, cluster has 6, free 4; 4 CPU of it for the job's other"
        with pytest.raises(ConfigError, match=said):
            pool.fill(9, open_pictures())
