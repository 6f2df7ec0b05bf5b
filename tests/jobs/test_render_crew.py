"""An encoder asks render workers for so many records ahead, gets them in order, and asks others where one is lost."""

from __future__ import annotations

import types
from typing import cast

import pytest
import ray
from ray.exceptions import ActorUnavailableError, NodeDiedError, OutOfMemoryError, RayTaskError

from diffusion_perception.building.assignment import Assignment
from jobs import render_crew
from jobs.render_crew import PIECE, RenderCrew
from shards.errors import ContractError, FingerprintMismatch

KEYS = [f"key{number:02d}" for number in range(18)]
WORK = cast(Assignment, object())


class Workers:
    """Some that answer when `ray.get` asks; `log` is who was asked for what."""

    def __init__(self, number: int, faults: dict[int, list[Exception]] | None = None) -> None:
        self.log: list[tuple[int, list[str]]] = []
        self.under_way = self.most_under_way = 0
        self._faults = faults or {}
        self.handles = [
            types.SimpleNamespace(
                render=types.SimpleNamespace(remote=lambda work, keys, one=one: self._ask(one, list(keys)))
            )
            for one in range(number)
        ]

    def _ask(self, worker: int, keys: list[str]) -> tuple[int, list[str]]:
        self.log.append((worker, keys))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        return worker, keys

    def get(self, asked: tuple[int, list[str]]) -> list[str]:
        self.under_way -= 1
        worker, keys = asked
        if faults := self._faults.get(worker):
            raise faults.pop(0)
        return keys


def crew_of(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> RenderCrew:
    monkeypatch.setattr(ray, "get", workers.get)
    monkeypatch.setattr(render_crew, "REST_S", 0.01)
    return RenderCrew(workers.handles)


def unavailable() -> Exception:
    return ActorUnavailableError("not reached", None)


@pytest.mark.parametrize(("ahead", "most"), [(1, 1), (4, 1), (8, 2), (9, 2), (32, 5)])
def test_records_come_in_order_and_no_more_are_under_way_than_asked_for(
    ahead: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(3)
    assert list(crew_of(workers, monkeypatch).rendered(WORK, KEYS, ahead)) == KEYS
    assert workers.most_under_way == most
    assert max(len(keys) for _, keys in workers.log) == min(ahead, PIECE)


def test_work_goes_to_whoever_has_least_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(3)
    list(crew_of(workers, monkeypatch).rendered(WORK, KEYS, 12))
    assert {worker for worker, _ in workers.log[:3]} == {0, 1, 2}


def test_what_a_lost_worker_had_goes_to_another_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = Workers(2, {0: [unavailable(), unavailable()]})
    monkeypatch.setattr(render_crew, "REST_S", 60.0)
    crew = crew_of(workers, monkeypatch)
    monkeypatch.setattr(render_crew, "REST_S", 60.0)
    assert list(crew.rendered(WORK, KEYS, 12)) == KEYS
    assert capsys.readouterr().out.count("a render worker was lost") == 1
    again = [keys for worker, keys in workers.log if worker == 1]
    assert all(keys in again for worker, keys in workers.log if worker == 0)


@pytest.mark.parametrize("lost", [OutOfMemoryError("killed"), NodeDiedError("gone")])
def test_one_that_its_node_killed_or_took_along_is_lost_too(lost: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(2, {0: [lost]})
    assert list(crew_of(workers, monkeypatch).rendered(WORK, KEYS, 12)) == KEYS


def test_one_that_worked_for_long_and_is_lost_then_is_not_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, now = Workers(2, {0: [unavailable()]}), [0.0]
    crew, get = crew_of(workers, monkeypatch), workers.get

    def after_long(asked: tuple[int, list[str]]) -> list[str]:
        now[0] += 400.0
        return get(asked)

    monkeypatch.setattr(ray, "get", after_long)
    clock = types.SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: None)
    monkeypatch.setattr(render_crew, "time", clock)
    assert list(crew.rendered(WORK, KEYS, 4)) == KEYS


def test_the_only_worker_is_asked_again_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(1, {0: [unavailable() for _ in range(5)]})
    assert list(crew_of(workers, monkeypatch).rendered(WORK, KEYS, 4)) == KEYS


def test_a_worker_that_stays_away_ends_the_shard_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(1, {0: [unavailable() for _ in range(500)]})
    crew = crew_of(workers, monkeypatch)
    monkeypatch.setattr(render_crew, "MOST_UNREACHED_S", 0.05)
    with pytest.raises(ContractError, match=r"no render worker was reached for 0.05 s.*resources.render_workers=0"):
        list(crew.rendered(WORK, KEYS, 4))


def test_what_a_worker_is_refused_is_raised_as_it_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = FingerprintMismatch("other files")
    workers = Workers(1, {0: [RayTaskError("render", "traceback", cause)]})
    with pytest.raises(FingerprintMismatch, match="other files"):
        list(crew_of(workers, monkeypatch).rendered(WORK, KEYS, 4))
