"""How many CPUs, threads and writers keep an encoder busy? Simulated from what each stage was measured to cost.

    python -m benchmarks.build_pace                                  (two minutes; an encoder of 2.5 ms a picture)
    python -m benchmarks.build_pace --encoder-ms 20 --cpus 2         (two CPUs beside a slower one)
    python -m benchmarks.build_pace --render-workers 4               (rendered by so many CPUs of other nodes, at best)
    python -m benchmarks.build_pace --json benchmarks/results/build_pace.json

No accelerator is needed, and cores that others use disturb nothing but the costs. These are medians of CPU seconds
(`benchmarks.build_stages`), with what a whole build spends beyond its stages (`benchmarks.build`) added to them in
proportion; `--costs` takes them from a file that `--json` wrote. The simulation plays the threads of an actor as
`pipeline.building` starts them: decoding threads, one that fills batches, one that encodes, one that writes, for each
of the shards that are built at once, with the same limits to running ahead, the lock of the encoder, and a sync at a
shard's end. Two things that threads share are played, too:

- cores: a stage has one while it works, and the thread that waits for a GPU keeps one, as CUDA's waiting does;
- Python's lock: what a stage costs beyond its limit (library calls and copies, which let go of it) is held under it.

Render workers (`resources.render_workers`) have a core each, of another node, and no lock in common; a picture then
costs the actor what `benchmarks.handed_over` measured, under its lock. The network is not played.

The figures are the encoder's share of the whole time, with the fill of the first batch and the last shard's sync. The
last lines say what `jobs.feeding` chooses on a node that has enough, and whether that is enough; the exit status, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.events import Clock, Process, Semaphore
from benchmarks.pace_costs import STAGES, costs_in, measured
from diffusion_perception.building.builder import BUILDS_AT_ONCE
from jobs.feeding import cpus_for, threads_for
from pipeline.building.recipe import BuildSettings
from pipeline.building.shard import BATCHES_AHEAD

HANDED_OVER_S = 0.37e-3  # a picture of a render worker, to who asked (`benchmarks.handed_over`)
PICTURES = 19_994  # RefCOCO's
BAR = 0.95


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a stage for a picture: under Python's lock, and without it."""

    locked_s: float
    free_s: float


@dataclass(frozen=True)
class Machine:
    """What feeds one encoder."""

    cpus: int
    threads: int  # that decode, of each shard
    writers: int = BUILDS_AT_ONCE  # shards at once
    render_workers: int = 0  # that decode in place of the threads


@dataclass(frozen=True)
class Work:
    """A set to build, and what a picture of it costs."""

    decode: Cost
    batch: Cost
    write: Cost
    encoder_s: float
    sync_s: float  # of a shard
    pictures: int = PICTURES
    settings: BuildSettings = field(default_factory=BuildSettings)


class Actor:
    """The threads of an encoder actor, on a clock."""

    def __init__(self, work: Work, machine: Machine) -> None:
        self.work, self.machine, self.clock = work, machine, Clock()
        self.cores, self.lock = self.clock.semaphore(machine.cpus), self.clock.semaphore(1)
        self.filling, self.turn = self.clock.semaphore(1), self.clock.semaphore(1)
        self.others = self.clock.semaphore(machine.render_workers)
        self.busy_s = 0.0
        size, self.batch = work.settings.records_per_shard, work.settings.image_batch
        self.sizes = [min(size, work.pictures - first) for first in range(0, work.pictures, size)]
        self.todo = list(self.sizes)

    def busy(self) -> float:
        """The encoder's share of the time that the set takes."""
        for _ in range(self.machine.writers):
            self.clock.resume(self._builder(), 0.0)
        self.clock.run()
        expected_s = self.work.encoder_s * sum(-(-shard // self.batch) * self.batch for shard in self.sizes)
        assert abs(self.busy_s - expected_s) < 1e-6 * expected_s, "the simulation stands still"
        return self.busy_s / self.clock.now_s

    def _builder(self) -> Process:
        """The calling thread: one shard after the other; records, tar, hashes."""
        while self.todo:
            shard = _Shard(self, self.todo.pop(0))
            self.clock.resume(shard.encoding(), 0.0)
            yield from shard.writing()
            yield self.work.sync_s  # no core has to do with that

    def spend(self, cost: Cost) -> Process:
        if cost.locked_s:
            yield self.lock
            yield self.cores
            yield cost.locked_s
            self.cores.give()
            self.lock.give()
        yield self.cores
        yield cost.free_s
        self.cores.give()


class _Shard:
    """The stages of one shard. Queues are pairs of semaphores: what is in them, and places that are free."""

    def __init__(self, actor: Actor, pictures: int) -> None:
        self.actor, self.pictures, clock = actor, pictures, actor.clock
        settings = actor.work.settings
        self.size = actor.batch
        self.threads = clock.semaphore(actor.machine.threads)
        self.ahead = clock.semaphore(settings.decode_ahead + 1)
        self.decoded = [clock.semaphore(0) for _ in range(pictures)]
        self.batches, self.batch_places = clock.semaphore(0), clock.semaphore(BATCHES_AHEAD)
        self.outcomes, self.outcome_places = clock.semaphore(0), clock.semaphore(2 * self.size)

    def decoding(self) -> Process:
        for done in self.decoded:
            yield self.ahead
            yield self.threads
            self.actor.clock.resume(self._decode(done), 0.0)

    def _decode(self, done: Semaphore) -> Process:
        decode, others = self.actor.work.decode, self.actor.machine.render_workers
        if others:
            self.threads.give()
            yield self.actor.others
            yield decode.locked_s + decode.free_s
            self.actor.others.give()
            decode = Cost(HANDED_OVER_S, 0.0)
        yield from self.actor.spend(decode)
        if not others:
            self.threads.give()
        done.give()

    def batching(self) -> Process:
        for first in range(0, self.pictures, self.size):
            yield self.batch_places
            for done in self.decoded[first : first + self.size]:
                yield done
                self.ahead.give()
                yield from self.actor.spend(self.actor.work.batch)
            self.batches.give()

    def encoding(self) -> Process:
        actor = self.actor
        yield actor.filling  # and this before the turn, as `stages.encode` does
        for stage in (self.decoding(), self.batching()):
            actor.clock.resume(stage, 0.0)
        yield self.batches
        actor.filling.give()
        yield actor.turn
        for first in range(0, self.pictures, self.size):
            if first:
                yield self.batches
            self.batch_places.give()
            yield actor.cores
            yield self.size * actor.work.encoder_s
            actor.busy_s += self.size * actor.work.encoder_s
            actor.cores.give()
            for _ in range(min(self.size, self.pictures - first)):
                yield self.outcome_places
                self.outcomes.give()
        actor.turn.give()

    def writing(self) -> Process:
        for _ in range(self.pictures):
            yield self.outcomes
            self.outcome_places.give()
            yield from self.actor.spend(self.actor.work.write)


def work_of(ms: Mapping[str, float], encoder_s: float) -> Work:
    """A set of RefCOCO's size at such costs."""
    costs = {}
    for stage in STAGES:
        locked_ms = ms[f"{stage}_locked_ms"]
        costs[stage] = Cost(locked_ms / 1e3, (ms[f"{stage}_ms"] - locked_ms) / 1e3)
    return Work(**costs, encoder_s=encoder_s, sync_s=ms["sync_ms"] / 1e3)


def table(work: Work, most_cpus: int) -> dict[str, float]:
    """Share of busy time by CPUs, threads and writers."""
    found = {}
    for cpus in range(1, most_cpus + 1):
        for writers in (1, BUILDS_AT_ONCE):
            machine = Machine(cpus, threads_for(cpus), writers)
            found[words(machine)] = share = Actor(work, machine).busy()
            print(f"  {words(machine):46}{share:7.1%}", flush=True)
    return found


def table_elsewhere(work: Work, most_cpus: int, most_workers: int) -> dict[str, float]:
    """The same where others render: by CPUs of the actor and by their number."""
    found = {}
    for cpus in range(1, most_cpus + 1):
        for workers in range(1, most_workers + 1):
            machine = Machine(cpus, threads_for(cpus), render_workers=workers)
            found[words(machine)] = share = Actor(work, machine).busy()
            print(f"  {words(machine):46}{share:7.1%}", flush=True)
    return found


def words(machine: Machine) -> str:
    shards = "shard at a time" if machine.writers == 1 else "shards at once"
    who = (
        f"{machine.render_workers} render workers" if machine.render_workers else f"{machine.threads} decoding threads"
    )
    return f"{machine.cpus} CPUs, {who}, {machine.writers} {shards}"


def chosen(most_cpus: int) -> Machine:
    """What an actor has by default on a node with one GPU and as many CPUs as it may want."""
    cpus = cpus_for([{"CPU": float(most_cpus), "GPU": 1.0}], 1.0)
    return Machine(int(cpus), threads_for(cpus))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder-ms", type=float, default=2.5, help="of a picture, on the accelerator")
    parser.add_argument(
        "--cpus", type=int, default=0, help="the default to check is of so many; 0: as jobs.feeding says"
    )
    parser.add_argument("--most-cpus", type=int, default=6, help="of the table")
    parser.add_argument("--render-workers", type=int, default=0, help="also a table of up to so many of them")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--costs", type=Path, help="do not measure: a file that --json wrote")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    figures = costs_in(options.costs) if options.costs else measured(options.images, options.rounds)
    work = work_of(figures, options.encoder_ms / 1e3)
    print(", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
    busy = table(work, options.most_cpus)
    if options.render_workers:
        busy |= table_elsewhere(work, options.most_cpus, options.render_workers)
    machine = Machine(options.cpus, threads_for(options.cpus)) if options.cpus else chosen(64)
    share = Actor(work, machine).busy()
    slower = {factor: Actor(slowed(work, factor), machine).busy() for factor in (1.25, 1.5)}
    print(f"by default: {words(machine)}: busy {share:.1%}, bar {BAR:.0%}")
    print("; ".join(f"were all of it {factor} times as slow: {busy_then:.1%}" for factor, busy_then in slower.items()))
    if options.json:
        content = {"costs": figures, "busy": busy, "default": words(machine), "default_busy": share}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(int(share < BAR))


def slowed(work: Work, factor: float) -> Work:
    """On cores that take so many times as long."""
    stages: Mapping[str, Cost] = {name: getattr(work, name) for name in STAGES}
    costs = {name: Cost(factor * cost.locked_s, factor * cost.free_s) for name, cost in stages.items()}
    return replace(work, **costs)


if __name__ == "__main__":
    main()
