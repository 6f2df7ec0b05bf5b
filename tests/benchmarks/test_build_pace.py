"""The simulation of a build against small cases whose seconds were worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.build_pace import HANDED_OVER_S, Actor, Cost, Machine, Work, words
from benchmarks.events import Clock, Process, Semaphore
from benchmarks.pace_costs import costs_in
from pipeline.building.recipe import BuildSettings

FREE, NOTHING = Cost(0.0, 1.0), Cost(0.0, 0.0)  # a second without Python's lock
FOUR = BuildSettings(records_per_shard=4, image_batch=4)  # pictures of a shard, and of a batch: 8 s of the encoder


def busy(machine: Machine, decode: Cost = FREE, write: Cost = NOTHING, pictures: int = 4, sync_s: float = 0.0) -> float:
    return Actor(Work(decode, NOTHING, write, 2.0, sync_s, pictures, FOUR), machine).busy()


@pytest.mark.parametrize(
    ("machine", "decode", "total_s"),
    [
        (Machine(8, 4, 1), FREE, 1 + 8),  # four threads decode at once
        (Machine(8, 1, 1), FREE, 4 + 8),  # one after the other
        (Machine(8, 2, 1), FREE, 2 + 8),
        (Machine(1, 4, 1), FREE, 4 + 8),  # four threads, one core
        (Machine(8, 4, 1), Cost(1.0, 0.0), 4 + 8),  # four threads, one lock
        (Machine(8, 4, 1), Cost(1.0, 1.0), 5 + 8),  # the last one gets the lock after three seconds
    ],
)
def test_decoding_waits_for_threads_cores_and_the_lock(machine: Machine, decode: Cost, total_s: float) -> None:
    assert busy(machine, decode) == pytest.approx(8 / total_s)


def test_two_shards_at_once_hide_decoding_and_the_sync_of_the_first() -> None:
    assert busy(Machine(8, 4, 1), pictures=8, sync_s=3.0) == pytest.approx(16 / (2 * (1 + 8 + 3)))
    assert busy(Machine(8, 4, 2), pictures=8, sync_s=3.0) == pytest.approx(16 / (1 + 8 + 8 + 3))


def test_a_last_batch_that_is_not_full_costs_a_full_one() -> None:
    assert busy(Machine(8, 4, 1), pictures=3) == pytest.approx(8 / (1 + 8))


def test_writing_begins_with_what_is_encoded() -> None:
    assert busy(Machine(8, 4, 1), write=Cost(0.0, 0.5)) == pytest.approx(8 / (1 + 8 + 4 * 0.5))


def test_others_render_in_place_of_threads_and_hand_over_under_the_lock() -> None:
    two = Machine(8, 1, 1, render_workers=2)  # two seconds of two pictures each; the last two come together
    assert busy(two) == pytest.approx(8 / (2 + 2 * HANDED_OVER_S + 8))
    locked = busy(two, Cost(1.0, 0.0))  # no lock is common to them
    assert locked == pytest.approx(busy(two))
    assert words(two) == "8 CPUs, 2 render workers, 1 shard at a time"


def test_who_came_first_is_served_first() -> None:
    clock, order = Clock(), list[tuple[str, float]]()
    one = clock.semaphore(1)

    def wants(name: str, semaphore: Semaphore, for_s: float) -> Process:
        yield semaphore
        yield for_s
        order.append((name, clock.now_s))
        semaphore.give()

    for name, after_s in (("late", 0.2), ("early", 0.1), ("first", 0.0)):
        clock.resume(wants(name, one, 1.0), after_s)
    clock.run()
    assert order == [("first", 1.0), ("early", 2.0), ("late", 3.0)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read .No such file"),
        ("[]", "no file of costs"),
        ("{", "no file of costs"),
        (json.dumps({"costs": {"sync_ms": 1}}), "batch_locked_ms, batch_ms.* is no number there"),
    ],
)
def test_a_file_that_holds_no_costs_is_refused_in_words(content: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit, match=said):
        costs_in(file)
