"""Handing out shards: what fails, what is tried again, and what ends all, with stand-ins for Ray's calls."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayError

from diffusion_perception.building.assignment import Assignment
from jobs import dispatch as handing_out
from jobs.dispatch import dispatch
from pipeline.building.plan import PlannedShard
from pipeline.building.transaction import Order
from shards.errors import ContractError

WORK = Assignment("train", "/sets/toys-train", Order(), {}, {})
Answer = Callable[[], tuple[int, int]]


class Method:
    def __init__(self, answer: Callable[..., Answer]) -> None:
        self._answer = answer

    def remote(self, *given: Any) -> Answer:
        return self._answer(*given)


class Actor:
    """Builds shards of four records; `faults` are raised in place of its first answers."""

    def __init__(self, *faults: Exception) -> None:
        self._faults, self.built = list(faults), list[str]()
        self.build, self.progress = Method(self._build), Method(lambda: lambda: (0, 0))

    def _build(self, work: Assignment, shard: PlannedShard) -> Answer:
        fault = self._faults.pop(0) if self._faults else None

        def answer() -> tuple[int, int]:
            if fault is not None:
                raise fault
            self.built.append(shard.name)
            return 4, 0

        return answer


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "wait", lambda running, timeout: (running[:1], running[1:]))
    monkeypatch.setattr(ray, "get", lambda answer, timeout=None: answer())
    monkeypatch.setattr(handing_out, "REST_S", 0.01)


def planned(shards: int) -> list[PlannedShard]:
    return [PlannedShard(f"s{number}", number, ("a", "b", "c", "d")) for number in range(shards)]


def run(actors: list[Actor], shards: int = 6) -> None:
    dispatch(WORK, planned(shards), actors, shards, lambda: None)


def unreached() -> Exception:
    return ActorUnavailableError("failed to connect", None)


def test_every_shard_is_built_once() -> None:
    actors = [Actor(), Actor()]
    run(actors)
    assert sorted(actors[0].built + actors[1].built) == [f"s{number}" for number in range(6)]


def test_a_worker_that_is_not_reached_for_a_while_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """As where its node is lost: Ray's own retries are used up before it has noticed."""
    alone = Actor(*(unreached() for _ in range(12)))
    run([alone])
    assert sorted(alone.built) == [f"s{number}" for number in range(6)]
    assert capsys.readouterr().out.count("a worker cannot be reached") == 1


def test_its_shards_go_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_out, "REST_S", 1000.0)
    away, other = Actor(unreached(), unreached()), Actor()
    run([away, other])
    assert away.built == []
    assert sorted(other.built) == [f"s{number}" for number in range(6)]


def test_one_that_stays_away_ends_its_shard_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.count(0.0, 60.0)
    monkeypatch.setattr(handing_out.time, "monotonic", lambda: next(moments))
    with pytest.raises(ContractError, match=r"could not be built:.*\n.*its worker was not reached for 300 s"):
        run([Actor(*(unreached() for _ in range(1000)))])


def test_one_that_stays_away_leaves_its_shards_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.count(0.0, 60.0)
    monkeypatch.setattr(handing_out.time, "monotonic", lambda: next(moments))
    away, other = Actor(*(unreached() for _ in range(1000))), Actor()
    run([other, away])
    assert sorted(other.built) == [f"s{number}" for number in range(6)]


def test_one_that_died_is_asked_for_nothing_more() -> None:
    died, other = Actor(ActorDiedError()), Actor()
    with pytest.raises(ContractError, match="1 of 6 shards could not be built"):
        run([died, other])
    assert len(died.built + other.built) == 5


def test_many_that_do_not_answer_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def silent(answer: Answer, timeout: float) -> tuple[int, int]:
        waited.append(timeout)
        handing_out.time.sleep(timeout)
        raise GetTimeoutError

    monkeypatch.setattr(ray, "get", silent)
    assert handing_out._within([Actor() for _ in range(20)]) == (0, 0)
    assert len(waited) == 20
    assert sum(waited) <= 2 * handing_out.REST_S


def test_several_failures_in_a_row_end_it() -> None:
    with pytest.raises(
        ContractError, match=r"6 of 9 shards could not be built(.|\n)*3 were not tried, after 6 in a row"
    ):
        run([Actor(*(RayError("no") for _ in range(9)))], shards=9)  # one was being built already
