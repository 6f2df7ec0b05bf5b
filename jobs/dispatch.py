"""Hands out the shards of a set to encoder actors, and says how far they are.

A shard that fails does not stop the others; what concerns all of them does: another recipe, a set that somebody else
took over, and several failures in a row without a success between them. A worker that is not reached, as while Ray has
not noticed that its node is lost, fails nothing: its shards go back to the others. Owns this; which shards there are is
`pipeline.building.transaction`'s, the actors `jobs.build_shards`'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusion_perception.building.assignment import Assignment
from diffusion_perception.building.builder import BUILDS_AT_ONCE
from pipeline.building.plan import PlannedShard
from shards.errors import BeingBuilt, ConfigError, ContractError, FingerprintMismatch
from shards.progress import Progress

REPORT_EVERY_S = 5.0
MOST_FAILURES_IN_A_ROW = 5
REST_S, MOST_UNREACHED_S = 2.0, 300.0  # between two tries of an actor that is not reached, and for how long
_CONCERNS_ALL = (BeingBuilt, ConfigError, FingerprintMismatch)
_SHOWN = 5


@dataclass
class Outcome:
    """What became of the shards."""

    records: int = 0
    rejects: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # shard -> why
    in_a_row: int = 0
    not_tried: int = 0


def dispatch(
    work: Assignment, todo: list[PlannedShard], actors: list[Any], total: int, check: Callable[[], None]
) -> None:
    """Build shards, keeping every actor busy with `BUILDS_AT_ONCE` at a time until none is left.

    Args:
        total: shards of the set, with those that are done.
        check: called again and again; raises where the driver has to stop.

    Raises:
        ContractError: some shards could not be built; the others are.
    """
    import ray
    from ray.exceptions import ActorUnavailableError, RayActorError, RayError

    queue, running, done = list(todo), dict[Any, tuple[Any, PlannedShard]](), Outcome()
    counted = Progress(sum(len(shard.keys) for shard in todo), "records")
    reported, crew = time.monotonic(), Crew(actors)
    while queue or running:
        check()
        while queue and done.in_a_row < MOST_FAILURES_IN_A_ROW and (actor := crew.take()):
            shard = queue.pop(0)
            running[actor.build.remote(work, shard)] = (actor, shard)
        if not running:
            if not crew.is_resting or done.in_a_row >= MOST_FAILURES_IN_A_ROW:
                break
            time.sleep(REST_S)
            continue
        ready, _ = ray.wait(list(running), timeout=REPORT_EVERY_S)
        for reference in ready:
            actor, shard = running.pop(reference)
            try:
                records, rejects = ray.get(reference)
                done.records, done.rejects, done.in_a_row = done.records + records, done.rejects + rejects, 0
                crew.back(actor)
            except RayError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, _CONCERNS_ALL):
                    raise cause from None
                if isinstance(error, ActorUnavailableError) and (crew.rest(actor) or crew.leave_to_others(actor)):
                    queue.insert(0, shard)  # its node may be lost, which Ray takes a while to notice
                    continue
                done.failed[shard.name], done.in_a_row = _words(error, cause), done.in_a_row + 1
                (crew.lose if isinstance(error, RayActorError) else crew.back)(actor)
        if time.monotonic() - reported > REPORT_EVERY_S or not (queue or running):
            reported = time.monotonic()
            within = _within([actor for actor, _ in running.values() if not crew.has_lost(actor)])
            records, rejects = done.records + within[0], done.rejects + within[1]
            shards = f"shards {total - len(queue) - len(running) - len(done.failed)}/{total}"
            print(f"[build] {Path(work.folder).name}: {shards}, {progress_line(counted, records, rejects)}", flush=True)
    done.not_tried = len(queue)
    if done.failed:
        raise _failure(work, done, len(todo))


class Crew:
    """The actors, each as often as it builds at once: idle, building, resting since it was not reached, or lost."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = tuple(actors)
        self._idle = [actor for _ in range(BUILDS_AT_ONCE) for actor in actors]
        self._resting: list[tuple[float, Any]] = []  # until when
        self._unreached: dict[Any, float] = {}  # since when
        self._lost: set[Any] = set()

    @property
    def is_resting(self) -> bool:
        return bool(self._resting)

    def has_lost(self, actor: Any) -> bool:
        return actor in self._lost

    def take(self) -> Any:
        """An actor that can begin a shard, if there is one."""
        now = time.monotonic()
        self._idle += [actor for until, actor in self._resting if until <= now]
        self._resting = [(until, actor) for until, actor in self._resting if until > now]
        return self._idle.pop() if self._idle else None

    def back(self, actor: Any) -> None:
        """It has answered."""
        self._unreached.pop(actor, None)
        if actor not in self._lost:
            self._idle.append(actor)

    def rest(self, actor: Any) -> bool:
        """It was not reached, and is asked again later; False if that has gone on for too long."""
        now = time.monotonic()
        since = self._unreached.setdefault(actor, now)
        if since == now:
            print("[build] a worker cannot be reached; its shards are built when it is back, or by others", flush=True)
        if actor in self._lost or now - since > MOST_UNREACHED_S:
            return False
        self._resting.append((now + REST_S, actor))
        return True

    def leave_to_others(self, actor: Any) -> bool:
        """Ask one that stays away for nothing more; False where there is no other to build its shards."""
        others = any(other is not actor and other not in self._lost for other in self._actors)
        if others:
            self.lose(actor)
        return others

    def lose(self, actor: Any) -> None:
        """It builds nothing any more."""
        self._lost.add(actor)
        self._idle = [other for other in self._idle if other is not actor]
        self._resting = [(until, other) for until, other in self._resting if other is not actor]


def progress_line(work: Progress, records: int, rejects: int) -> str:
    """Records of the shards to do, those left out among them, since both are done with."""
    return work.text(records + rejects) + (f", {rejects} of them rejected" if rejects else "")


def _within(actors: list[Any]) -> tuple[int, int]:
    """(records, rejects) of the shards being built; of actors that are being started again, or do not answer within
    `REST_S` all together, none."""
    import ray
    from ray.exceptions import RayError

    records, rejects, until = 0, 0, time.monotonic() + REST_S
    for answer in [actor.progress.remote() for actor in set(actors)]:
        try:
            told = ray.get(answer, timeout=max(0.0, until - time.monotonic()))
        except RayError:  # what it was building says so
            continue
        records, rejects = records + told[0], rejects + told[1]
    return records, rejects


def _words(error: Exception, cause: object) -> str:
    from ray.exceptions import ActorUnavailableError

    if isinstance(cause, ContractError):
        return f"{type(cause).__name__}: {cause}"
    if isinstance(error, ActorUnavailableError):
        return f"its worker was not reached for {MOST_UNREACHED_S:g} s ({error}); look at its node"
    if cause is None:
        return f"its worker died again and again ({error}); look at the node's memory"
    return f"{type(cause).__name__}: {cause}"


def _failure(work: Assignment, done: Outcome, n_todo: int) -> ContractError:
    shown = "".join(f"\n  {name}: {why}" for name, why in list(done.failed.items())[:_SHOWN])
    more = f"\n  and {len(done.failed) - _SHOWN} more" if len(done.failed) > _SHOWN else ""
    rest = ""
    if done.not_tried:
        why = (
            f"after {done.in_a_row} in a row" if done.in_a_row >= MOST_FAILURES_IN_A_ROW else "since no worker was left"
        )
        rest = f" {done.not_tried} were not tried, {why}."
    return ContractError(
        f"{work.folder}: {len(done.failed)} of {n_todo} shards could not be built:{shown}{more}\n"
        f"The others are kept.{rest} Mend what is said, then give the same command again: it builds what is missing."
    )
