"""Whatever the set, subset or mixture, the ranks, DataLoader workers, batch sizes and stops: the stream, exactly once,
in its order."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from diffusion_perception import CaptionDrop, MixedSet, Mixture, SetDataset, SetLoader, SetStream, Stage, Subset
from diffusion_perception.torch_data import placement
from shards.errors import ConfigError, FingerprintMismatch
from shards.reading.batch import Sample
from shards.reading.labelling import Room
from shards.reading.order import order_of
from shards.reading.stream import BatchStream
from tests.shards.toy_set import write_toy_set

QUICK = settings(max_examples=24)
Row = tuple[int, int]  # item, row


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch") / "toy"
    write_toy_set(folder, sizes=(3, 2, 4))
    write_toy_set(folder / "other", sizes=(2, 1))
    return folder


PLACES = ("whole", "subset", "mixture", "stages")


def place_of(root: Path, kind: str) -> dict[str, Any]:
    """What is read, as `SetStream` takes it."""
    some = Subset(where={"number": {"min": 2, "max": 6}}, share=(0.0, 0.95))
    if kind == "whole":
        return {"url": root}
    if kind == "subset":
        return {"url": root, "subset": some}
    sets = [MixedSet(root, 2, some), MixedSet(root / "other", 1), MixedSet(root, 1)]
    return {"url": Mixture(sets, stages=(Stage(7, (0, 1, 2)),) if kind == "stages" else ())}


@dataclass(frozen=True)
class Layout:
    """How many processes read."""

    world: int
    workers: int  # 0: none, the process itself


layouts = st.builds(Layout, st.integers(1, 3), st.integers(0, 4))


@contextmanager
def as_worker(worker: int, workers: int) -> Iterator[None]:
    """As seen from a DataLoader worker; with 0 of them, from the process itself."""
    whole = placement.get_worker_info
    placement.get_worker_info = lambda: SimpleNamespace(id=worker, num_workers=workers) if workers else None  # type: ignore
    try:
        yield
    finally:
        placement.get_worker_info = whole


def forked(stream: SetStream) -> SetStream:
    """The copy that a forked worker has."""
    twin = SetStream.__new__(SetStream)
    vars(twin).update({name: copy.copy(value) for name, value in vars(stream).items()})
    return twin


class Loaded:
    """One rank's pass through imitated DataLoader workers, taken from in turn; `states` as each worker saves them."""

    def __init__(self, stream: SetStream, workers: int, states: list[dict[str, Any]] | None = None, turn: int = 0):
        self.workers, self.turn = workers, turn
        self.twins = [forked(stream) if workers else stream for _ in range(max(1, workers))]
        for worker, twin in enumerate(self.twins if states else []):
            with as_worker(worker, workers):
                twin.load_state_dict((states or [])[worker])
        self.loops = [iter(twin) for twin in self.twins]
        self.over = [False] * len(self.twins)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while not all(self.over):
            worker = self.turn % len(self.twins)
            self.turn += 1
            with as_worker(worker, self.workers):
                batch = None if self.over[worker] else next(self.loops[worker], None)
            if batch is None:
                self.over[worker] = True
            else:
                yield batch

    def states(self) -> list[dict[str, Any]]:
        saved = []
        for worker, twin in enumerate(self.twins):
            with as_worker(worker, self.workers):
                saved.append(pickle.loads(pickle.dumps(twin.state_dict())))
        return saved


def rows_of(batch: dict[str, Any]) -> list[Row]:
    return list(zip(batch["item"].tolist(), batch["row"].tolist(), strict=True))


def joined(ranks: list[list[dict[str, Any]]]) -> list[list[Row]]:
    """Global batches: those of the ranks, put together."""
    longest = max(map(len, ranks))
    return [[row for rank in ranks if k < len(rank) for row in rows_of(rank[k])] for k in range(longest)]


def truth(root: Path, start: int, stop: int, size: int, unit: str, kind: str = "whole") -> list[list[Row]]:
    """The global batches of the stream itself, read by one process."""
    shards = fresh(root, kind).shards
    order = order_of(shards, seed=3, unit=unit)
    options: dict[str, Any] = {"draw_seed": 3, "unit": unit, "threads": 0}
    with BatchStream(shards, order, batch_size=size, position=start, stop=stop, **options) as stream:
        return [list(zip(batch.items.tolist(), batch.rows.tolist(), strict=True)) for batch in stream]


def streams_of(root: Path, size: int, world: int, kind: str = "whole", **options: Any) -> list[SetStream]:
    first = fresh(root, kind, **options)
    twins = [forked(first) for _ in range(world)]
    for rank, twin in enumerate(twins):
        twin._given, twin.global_batch_size = (rank, world), size
    return twins


@cache
def fresh(root: Path, kind: str, **options: Any) -> SetStream:
    return SetStream(**place_of(root, kind), global_batch_size=1, seed=3, threads=1, **options)


@QUICK
@given(
    layout=layouts,
    share=st.integers(1, 2),
    unit=st.sampled_from(["item", "row"]),
    whole=st.booleans(),
    kind=st.sampled_from(PLACES),
)
def test_passes_are_the_stream_for_any_ranks_and_workers(
    root: Path, layout: Layout, share: int, unit: str, whole: bool, kind: str
) -> None:
    size = share * layout.world
    ranks = streams_of(root, size, layout.world, kind, unit=unit, whole_batches=whole)
    n, start, all_rows = ranks[0].epoch_samples, 0, []
    for _ in range(3):
        stop = start - (start - (start // n + 1) * n) // size * size if whole else start + n
        lengths = [len(stream) for stream in ranks]
        got = [list(Loaded(stream, layout.workers)) for stream in ranks]
        assert lengths == [len(batches) for batches in got]
        assert joined(got) == truth(root, start, stop, size, unit, kind)
        all_rows += [row for batch in joined(got) for row in batch]
        for stream in ranks if layout.workers else []:
            stream.finish_pass()
        start = stop
    for epoch in range(start // n if kind in ("whole", "subset") else 0):
        items = sorted(row if unit == "row" else row[:1] for row in all_rows[epoch * n : (epoch + 1) * n])
        assert len(set(items)) == n, "never twice, never lost"


@QUICK
@given(
    before=layouts,
    after=layouts,
    stop=st.integers(0, 12),
    whole=st.booleans(),
    epoch=st.integers(0, 2),
    kind=st.sampled_from(PLACES),
)
def test_a_state_goes_on_with_any_other_ranks_and_workers(
    root: Path, before: Layout, after: Layout, stop: int, whole: bool, epoch: int, kind: str
) -> None:
    size = 6
    ranks = streams_of(root, size, before.world, kind, whole_batches=whole)
    n = ranks[0].epoch_samples
    taken = []
    for stream in ranks:
        stream.set_epoch(epoch)
        handed = [
            batch for _, batch in zip(range(min(stop, n // size - 1)), Loaded(stream, before.workers), strict=False)
        ]
        if handed:
            stream.reached(handed[-1]["next_position"])
        taken.append(handed)
    state = ranks[0].state_dict()
    assert all(stream.state_dict() == state for stream in ranks)
    twins = streams_of(root, size, after.world, kind, whole_batches=whole)
    for twin in twins:
        twin.load_state_dict(pickle.loads(pickle.dumps(state)))
        twin.set_epoch(epoch)  # as trainers call it after a resume
    rest = joined([list(Loaded(twin, after.workers)) for twin in twins])
    first = -(-epoch * n // size) * size if whole else epoch * n
    end = first - (first - (first // n + 1) * n) // size * size if whole else first + n
    assert (joined(taken) if taken[0] else []) + rest == truth(root, first, end, size, "item", kind)


@QUICK
@given(workers=st.integers(1, 4), stop=st.integers(0, 8), whole=st.booleans(), kind=st.sampled_from(PLACES))
def test_states_of_workers_go_on_where_each_was(root: Path, workers: int, stop: int, whole: bool, kind: str) -> None:
    """As torchdata's StatefulDataLoader saves them: of every worker, and whose turn it is."""
    (stream,) = streams_of(root, 2, 1, kind, whole_batches=whole)
    loaded, stop = Loaded(stream, workers), min(stop, len(stream) - 1)
    got = [rows_of(batch) for _, batch in zip(range(stop), loaded, strict=False)]
    again = Loaded(streams_of(root, 2, 1, kind, whole_batches=whole)[0], workers, loaded.states(), loaded.turn)
    end = stream._end_of_pass(0)
    assert got + [rows_of(batch) for batch in again] == truth(root, 0, end, 2, "item", kind)


def test_a_mixture_says_of_which_set_a_sample_is(root: Path) -> None:
    stream = SetStream(**place_of(root, "mixture"), global_batch_size=4, fields=("latent",), seed=3)
    for batch in pickle.loads(pickle.dumps(stream)):
        assert np.bincount(batch["set"].numpy(), minlength=3).tolist() == [2, 1, 1], "by weight, in every batch"
        number = torch.tensor([int(key[5:]) for key in batch["key"]])
        assert ((batch["set"] != 0) | ((number >= 2) & (number <= 6))).all(), "of the subset"
        assert ((batch["set"] != 1) | (number < 3)).all()
    data = SetDataset(place_of(root, "mixture")["url"])
    parts = data.shards.parts  # type: ignore[attr-defined]
    assert len(data) == sum(part.n_rows for part in parts)
    assert [sample["set"] for sample in data] == [place for place, part in enumerate(parts) for _ in range(part.n_rows)]


def test_a_subset_and_a_mixture_are_not_taken_for_another(root: Path, tmp_path: Path) -> None:
    states = {kind: fresh(root, kind).state_dict() for kind in PLACES}
    for kind in PLACES:
        for other in set(PLACES) - {kind}:
            with pytest.raises(FingerprintMismatch, match="positions of one mean other samples"):
                copy.copy(fresh(root, kind)).load_state_dict(states[other])
    with pytest.raises(ConfigError, match="in a mixture give it to a MixedSet"):
        SetStream(place_of(root, "mixture")["url"], 2, subset=Subset(keys=["image0001"]))
    with pytest.raises(ConfigError, match="1 of 2 sets have a weight"):
        SetStream(Mixture([MixedSet(root, 1), MixedSet(root)]), 2)
    with pytest.raises(ConfigError, match="no record of toy"):
        SetStream(root, 2, subset=Subset(where={"number": 77}))
    sent = pickle.dumps(SetStream(root, 2, subset=Subset(where=lambda meta: meta["number"] > 3)))
    assert {int(key[5:]) for batch in pickle.loads(sent) for key in batch["key"]} == set(range(4, 9)), "found once"


def labels(sample: Sample) -> dict[str, np.ndarray]:
    return {"twice": np.array(2.0 * sample.meta["number"], np.float32)}


def batch_labels(samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
    numbers = room.array("number", (), np.int64)
    numbers[:] = [sample.meta["number"] for sample in samples]
    return {"number": numbers}


@pytest.mark.parametrize("workers", [0, 2])
def test_labels_of_a_batch_at_once_are_those_of_its_samples(root: Path, workers: int) -> None:
    one_by_one = list(SetStream(root, 4, ("gist",), labels, seed=3))
    at_once = list(SetLoader(SetStream(root, 4, ("gist",), batch_labels=batch_labels, seed=3), num_workers=workers))
    assert len(at_once) == len(one_by_one) > 1
    for alone, together in zip(one_by_one, at_once, strict=True):
        assert together["key"] == alone["key"]
        assert [f"image{number:04d}" for number in together["number"].tolist()] == together["key"]
    with pytest.raises(ConfigError, match="labels and batch_labels are given"):
        SetStream(root, 4, ("gist",), labels, batch_labels=batch_labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_captions_are_dropped_with_any_workers(root: Path, workers: int) -> None:
    drop = CaptionDrop(0.5, {"tokens": np.zeros(5, np.int32)})
    plain = {batch["next_position"]: batch for batch in SetStream(root, 4, ("tokens",), seed=3)}
    stream = copy.deepcopy(SetStream(root, 4, ("tokens",), drop=drop, seed=3))
    batches = list(SetLoader(stream, num_workers=workers))
    seen = torch.cat([batch["dropped"] for batch in batches])
    assert seen.dtype == torch.bool
    assert 0 < int(seen.sum()) < len(seen)
    again = SetStream(root, 4, ("tokens",), drop=drop, seed=3)
    assert seen.tolist() == [one for batch in again for one in batch["dropped"].tolist()]
    for batch in batches:
        before = plain[batch["next_position"]]
        assert torch.equal(batch["tokens"][~batch["dropped"]], before["tokens"][~batch["dropped"]])
        assert not batch["tokens"][batch["dropped"]].any()
        assert batch["row"].tolist() == before["row"].tolist()


def test_two_real_workers_give_the_stream_and_a_state_of_what_was_handed_out(root: Path) -> None:
    stream = SetStream(root, 4, ("latent", "tokens"), labels, seed=3)
    loader = SetLoader(stream, num_workers=2, prefetch_factor=2)
    expected = truth(root, 0, 20, 4, "item")
    got = []
    for batch in loader:
        got.append(rows_of(batch))
        assert batch["latent"].shape == (4, 4, 2, 2)
        assert batch["twice"].tolist() == [2.0 * int(key[5:]) for key in batch["key"]]
        if len(got) == 2:
            break
    assert got == expected[:2], "no batch twice, whoever read it"
    state = loader.state_dict()
    assert state["position"] == 8, "batches that workers have read ahead do not count"
    again = SetLoader(SetStream(root, 4, seed=3), num_workers=0)
    again.load_state_dict(state)
    assert got + [rows_of(batch) for batch in again] == expected
    assert again.state_dict()["position"] == 20


def test_a_loop_that_is_left_early_starts_the_same_pass_again(root: Path) -> None:
    stream = SetStream(root, 4, seed=3)
    first = [rows_of(batch) for _, batch in zip(range(2), stream, strict=False)]
    assert [rows_of(batch) for batch in stream][:2] == first
    assert [rows_of(batch) for batch in stream][:2] != first, "the next pass"


def test_batches_belong_to_the_caller_unless_asked_otherwise(root: Path) -> None:
    kept, once = (list(SetStream(root, 4, seed=3)) for _ in range(2))
    for own, other in zip(kept, once, strict=True):
        assert torch.equal(own["latent"], other["latent"])
    assert len({batch["latent"].data_ptr() for batch in kept}) == len(kept)
    reused = list(SetStream(root, 4, seed=3, reuse_buffers=True, threads=0))
    assert len({batch["latent"].data_ptr() for batch in reused}) == 2
    assert len(pickle.dumps(kept[0])) < 5_000, "a batch pickles as its tensors, not as the tar"


def test_it_pickles_small_and_reads_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    stream = SetStream(root, 4, labels=labels, seed=3)
    sent = pickle.dumps(stream)
    assert len(sent) < 3_000
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert [rows_of(batch) for batch in pickle.loads(sent)] == [
        rows[2:] for rows in truth(root, 0, stream._end_of_pass(0), 4, "item")
    ], "a worker that knows no rank has that of the process that sent it"


def test_what_does_not_fit_is_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy_set(tmp_path / "other", sizes=(2,))
    stream = SetStream(root, 2)
    with pytest.raises(FingerprintMismatch, match="positions of one mean other samples"):
        stream.load_state_dict(SetStream(tmp_path / "other", 1).state_dict())
    with as_worker(1, 3):
        state = stream.state_dict()
    stream.load_state_dict(state)
    with pytest.raises(ConfigError, match=r"saved in DataLoader worker \(1, 3\)"):
        next(iter(stream))
    with pytest.raises(ConfigError, match="some epochs would have no batch"):
        SetStream(root, 1000)
    with pytest.raises(ConfigError, match=r"field depth .* varies by record"):
        SetStream(root, 2, ("depth",))
    with as_worker(0, 1), pytest.raises(ConfigError, match="overwrite batches"):
        next(iter(SetStream(root, 2, reuse_buffers=True)))
    loader = DataLoader(SetStream(root, 4, seed=3), batch_size=None, num_workers=1, persistent_workers=True)
    assert len(list(loader)) == len(list(SetStream(root, 4, seed=3)))
    with pytest.raises(ConfigError, match="workers that live on do not hear"):
        next(iter(loader))
    with pytest.raises(ConfigError, match="persistent_workers"):
        SetLoader(stream, num_workers=1, persistent_workers=True)
    with pytest.raises(ConfigError, match="batch_size: what batches are"):
        SetLoader(stream, batch_size=3)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="expected two numbers, or neither set"):
        len(stream)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="does not divide by 3 ranks"):
        list(SetStream(root, 4))
