"""Indexes that are read as they are needed: the same samples as with all of them in hand, and damage named when met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import ContractError, CorruptShard, IncompleteSet
from shards.reading import reader
from shards.reading.joined import JoinedSet
from shards.reading.mixing import Mixing
from shards.reading.order import Order, order_of
from shards.reading.page import Columns, Page
from shards.reading.paged_index import KeptPages
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.reading.subset import subset_of
from shards.storage.local import LocalFolder
from tests.shards.toy_set import flip_byte, write_toy_set

FIELDS = ("tokens", "gist")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paged") / "toy"
    write_toy_set(root, (4, 3, 5, 1, 6))
    return root


@pytest.fixture(scope="module")
def kept(folder: Path) -> ShardSet:
    return ShardSet.open(folder)


@pytest.fixture(scope="module")
def dropped(folder: Path) -> ShardSet:
    """The same set with room for a single page."""
    return ShardSet.open(folder, index_bytes=1)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets count as large from one record on."""
    monkeypatch.setattr(reader, "_SMALL_RECORDS", 0)


def given_out(shards: ShardSet, position: int = 0, **options: Any) -> list[tuple]:
    """Everything that a stream says of every sample."""
    unit, window = options.pop("unit", "item"), options.pop("window", 0)
    order = order_of(shards, seed=3, window_shards=window, unit=unit)
    found = []
    stop = 2 * order.n_items
    with BatchStream(
        shards, order, batch_size=5, position=position, stop=stop, fields=FIELDS, threads=0, unit=unit, **options
    ) as stream:
        for batch in stream:
            for place in range(len(batch)):
                sample = batch.sample(place)
                arrays = tuple(batch.arrays[name][place].tobytes() for name in FIELDS)
                found.append(
                    (sample.position, sample.key, sample.global_item, sample.item, sample.first_row, sample.n_rows,
                     sample.row, sample.meta["number"], bytes(sample.payload("mask")), arrays)
                )  # fmt: skip
    return found


@settings(max_examples=20)
@given(
    unit=st.sampled_from(["item", "row"]),
    draw=st.sampled_from(["random", "cycle"]),
    window=st.integers(0, 5),
    position=st.integers(0, 60),
)
def test_pages_that_are_dropped_and_read_again_change_nothing(
    kept: ShardSet, dropped: ShardSet, unit: str, draw: str, window: int, position: int
) -> None:
    whole = given_out(kept, unit=unit, draw=draw, window=window)
    assert given_out(dropped, position, unit=unit, draw=draw, window=window) == whole[position:]
    n_samples = kept.n_rows if unit == "row" else kept.n_items
    items = [(sample[2], sample[6]) if unit == "row" else sample[2] for sample in whole[:n_samples]]
    assert len(set(items)) == n_samples


@settings(max_examples=8)
@given(numbers=st.sets(st.integers(0, 18), min_size=1))
def test_a_subset_and_a_mixture_are_read_page_by_page(kept: ShardSet, dropped: ShardSet, numbers: set[int]) -> None:
    records = np.array(sorted(numbers))
    few, same = subset_of(dropped, records), subset_of(kept, records)
    assert few.manifest == same.manifest
    assert given_out(few) == given_out(same)
    for item in range(few.n_items):
        assert few.record(few.item(item).record).meta["number"] in numbers
    both = JoinedSet([few, dropped], Mixing(weights=(1, 2)))
    assert given_out(both) == given_out(JoinedSet([same, kept], Mixing(weights=(1, 2))))


def test_a_subset_keeps_as_much_of_indexes_as_its_set(
    kept: ShardSet, dropped: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    cut = Page.of
    monkeypatch.setattr(Page, "of", lambda page, records: made.append(len(records)) or cut(page, records))
    for shards, pages in ((kept, 2 + 2), (dropped, 2 + 3)):  # when it is chosen, and when it is read
        few = subset_of(shards, np.array([0, 1, 4]))
        assert [few.record(number).key for number in (0, 2, 1)] == ["image0000", "image0004", "image0001"]
        assert len(made) == pages
        made.clear()


def test_the_whole_index_says_what_the_pages_say(kept: ShardSet, dropped: ShardSet) -> None:
    index = dropped.index
    for record in range(kept.n_records):
        assert index.key(record) == kept.record(record).key
        assert range(*index.first_item[record : record + 2].tolist()) == kept.items_of_record(record)
        for field in kept.schema.fields:
            table, shard = index.fields[field.name], int(index.shard[record])
            start = int(table.offset[record])
            payload = kept.shard_bytes(shard)[start : start + int(table.length[record])].data
            assert bytes(payload) == bytes(kept.record(record).payload(field.name))
    assert index.items.tolist() == [list(kept.item(item)) for item in range(kept.n_items)]
    assert index.row_ends[-1] == kept.n_rows


def test_a_first_batch_reads_the_indexes_of_its_own_shards_alone(
    folder: Path, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    lend = LocalFolder.lend
    monkeypatch.setattr(LocalFolder, "lend", lambda of, name, sha256: read.append(name) or lend(of, name, sha256))
    shards = ShardSet.open(folder)
    assert read == []
    order = Order(shards.n_items, 0, shuffle=False)
    at = shards.n_items - 2
    with BatchStream(shards, order, batch_size=2, position=at, fields=FIELDS, threads=0) as stream:
        assert next(stream).items.tolist() == [at, at + 1]
    assert read == ["toy-000004.idx"]


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda root: flip_byte(root / "toy-000001.idx", -3), CorruptShard, r"toy-000001\.idx: sha256 is"),
        (lambda root: (root / "toy-000001.idx").unlink(), IncompleteSet, r"toy-000001\.idx: named by the manifest"),
    ],
)
def test_a_large_set_names_a_damaged_index_before_anything_is_read_by_it(
    damaged: Path, large: None, damage: Any, error: type[ContractError], message: str
) -> None:
    damage(damaged)
    shards = ShardSet.open(damaged)
    assert shards.record(3).key == "image0003"  # another shard
    for _ in range(2):
        with pytest.raises(error, match=message):
            shards.record(4).payload("gist")
    order = Order(shards.n_items, 0, shuffle=False)
    stream = BatchStream(shards, order, batch_size=4, fields=FIELDS, threads=0)
    assert next(stream).items.tolist() == [0, 1, 2, 3]
    with pytest.raises(error, match=message):  # batches are planned ahead, two and then four together
        next(stream)


@pytest.mark.parametrize("ending", ["tar"])
def test_a_large_set_with_a_missing_tar_does_not_open(damaged: Path, large: None, ending: str) -> None:
    (damaged / f"toy-000002.{ending}").unlink()
    with pytest.raises(IncompleteSet, match=r"toy-000002\.tar: named by the manifest but not found"):
        ShardSet.open(damaged)


def test_pages_are_dropped_by_when_they_were_last_asked_for(kept: ShardSet) -> None:
    loaded: list[int] = []

    def load(number: int):
        loaded.append(number)
        return kept.paged.pages([number])[0]

    room = sum(page.nbytes for page in kept.paged.pages([0, 1]))
    pages = KeptPages(load, room, in_parallel=True)
    pages([0, 1])
    pages([0])
    pages([3])  # smaller than 1, which goes
    pages([0, 3])
    assert sorted(loaded) == [0, 1, 3]
    pages([1])
    assert loaded[3:] == [1]


@given(
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 3)), min_size=0, max_size=20),
    st.integers(0, 2**33),
    st.integers(0, 9),
)
def test_packed_columns_come_back(rows: list[tuple[int, int]], base: int, step: int) -> None:
    grown = base + step * np.arange(len(rows))
    values = np.column_stack([np.array(rows, np.int64).reshape(-1, 2), grown, np.full(len(rows), base)])
    packed = Columns.pack(values)
    assert len(packed) == len(rows)
    np.testing.assert_array_equal(packed.all(), values)
    if rows:
        np.testing.assert_array_equal(packed.at(np.array([len(rows) - 1, 0])), values[[-1, 0]])
    assert set(packed.varying.tolist()) <= {0, 1}
