"""Stream: the same global batches for any world and position, correct rows, no hang or leak on errors."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shards.contract.schema import Field, Record, Schema
from shards.errors import ConfigError, CorruptShard, LabelsFailed, SchemaMismatch
from shards.native.library import SWITCH
from shards.reading.batch import Sample
from shards.reading.labelling import Room
from shards.reading.order import Order, order_of
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.reading.window import WindowedOrder
from shards.writing.writer import seal_set, write_shard
from tests.shards.toy_set import flip_byte, toy_record

FIELDS = ("latent", "tokens", "gist")


def drain(stream: BatchStream) -> list[dict]:
    """All batches, copied out of their buffers."""
    with stream:
        return [
            {
                "position": batch.position,
                "keys": batch.keys,
                "items": batch.items.tolist(),
                "rows": batch.rows.tolist(),
                **{name: array.copy() for name, array in batch.arrays.items()},
            }
            for batch in stream
        ]


def equal(one: list[dict], two: list[dict]) -> bool:
    def plain(batches: list[dict]) -> list[dict]:
        return [{name: np.asarray(value).tolist() for name, value in batch.items()} for batch in batches]

    return plain(one) == plain(two)


def merged(ranks: list[list[dict]]) -> list[dict]:
    """Global batches from the ranks' shares."""
    whole = []
    for shares in zip(*ranks, strict=True):
        joined: dict = {"position": shares[0]["position"]}
        for name in shares[0]:
            if name != "position":
                parts = [list(share[name]) for share in shares]
                joined[name] = np.array([*chain.from_iterable(parts)])
        whole.append(joined)
    return whole


def chosen_order(toy: ShardSet, windowed: bool) -> Order | WindowedOrder:
    return order_of(toy, seed=5, window_shards=2 if windowed else 0)


def test_every_row_is_the_row_that_was_written(toy: ShardSet) -> None:
    order = chosen_order(toy, False)
    for batch in drain(BatchStream(toy, order, batch_size=8, stop=72, fields=FIELDS, draw_seed=3)):
        for place, item in enumerate(batch["items"]):
            position = batch["position"] + place
            assert item == order.items(position, position + 1)[0]
            record, first_row, n_rows = toy.item(item)
            values, row = toy_record(record).values, batch["rows"][place]
            assert first_row <= row < first_row + n_rows
            assert batch["keys"][place] == f"image{record:04d}"
            np.testing.assert_array_equal(batch["latent"][place], values["latent"][0])
            np.testing.assert_array_equal(batch["tokens"][place], values["tokens"][row])
            np.testing.assert_array_equal(batch["gist"][place], values["gist"])


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("world", [2, 3, 4, 6, 12])
def test_any_world_size_sees_the_same_global_batches(toy: ShardSet, world: int, windowed: bool) -> None:
    settings = {"batch_size": 12, "stop": 60, "fields": FIELDS, "draw_seed": 1}
    alone = drain(BatchStream(toy, chosen_order(toy, windowed), **settings))
    ranks = [
        drain(BatchStream(toy, chosen_order(toy, windowed), rank=rank, world=world, threads=rank % 3, **settings))
        for rank in range(world)
    ]
    assert equal(merged(ranks), alone)
    assert {len(share["items"]) for share in ranks[0]} == {12 // world}


@pytest.mark.parametrize("windowed", [False, True])
def test_resume_at_every_position_equals_the_uninterrupted_stream(toy: ShardSet, windowed: bool) -> None:
    settings = {"batch_size": 4, "stop": 52, "fields": ("tokens",), "threads": 0}
    whole = drain(BatchStream(toy, chosen_order(toy, windowed), **settings))
    assert len(whole) == 13
    for step in range(14):
        resumed = drain(BatchStream(toy, chosen_order(toy, windowed), position=4 * step, **settings))
        assert equal(resumed, whole[step:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    batch_size=st.integers(1, 9),
    world=st.integers(1, 4),
    position=st.integers(0, 50),
    length=st.integers(0, 60),
    unit=st.sampled_from(["item", "row"]),
)
def test_the_ranks_together_deliver_exactly_the_positions_asked_for(
    toy: ShardSet, batch_size: int, world: int, position: int, length: int, unit: str
) -> None:
    order = order_of(toy, seed=9, unit=unit)
    seen: list[tuple[int, int]] = []
    for rank in range(world):
        with BatchStream(
            toy, order, batch_size=batch_size * world, rank=rank, world=world, position=position,
            stop=position + length, threads=1, unit=unit, labels=lambda view: {"at": np.int64(view.position)},
        ) as stream:  # fmt: skip
            for batch in stream:
                seen += zip(batch.arrays["at"].tolist(), batch.items.tolist(), strict=True)
    assert [at for at, _ in sorted(seen)] == list(range(position, position + length))
    if unit == "item":
        assert [item for _, item in sorted(seen)] == order.items(position, position + length).tolist()


def test_counting_in_rows_visits_every_sentence_once(toy: ShardSet) -> None:
    batches = drain(
        BatchStream(toy, Order(toy.n_rows, 0), batch_size=7, stop=toy.n_rows, fields=("tokens",), unit="row")
    )
    tokens = sorted(row for batch in batches for row in batch["tokens"][:, 0].tolist())
    written = [toy_record(number).values["tokens"] for number in range(12)]
    expected = sorted(np.concatenate(written)[:, 0].tolist())
    assert tokens == expected


def test_rows_are_drawn_anew_each_epoch_and_evenly(toy: ShardSet) -> None:
    order = Order(toy.n_items, 0)
    drawn: dict[int, list[int]] = {}
    for batch in drain(BatchStream(toy, order, batch_size=24, stop=24 * 300, threads=0)):
        for item, row in zip(batch["items"], batch["rows"], strict=True):
            drawn.setdefault(item, []).append(row)
    for item, rows in drawn.items():
        _, first_row, n_rows = toy.item(item)
        counts = Counter(rows)
        assert sorted(counts) == list(range(first_row, first_row + n_rows))
        assert min(counts.values()) > 0.6 * len(rows) / n_rows
    again = drain(BatchStream(toy, order, batch_size=24, stop=24, threads=0, draw_seed=1))
    assert again[0]["rows"] != drain(BatchStream(toy, order, batch_size=24, stop=24, threads=0))[0]["rows"]


def test_a_cycle_gives_every_row_of_an_item_once_in_as_many_epochs(toy: ShardSet) -> None:
    order = Order(toy.n_items, 0)
    most = max(toy.item(item).n_rows for item in range(toy.n_items))
    drawn: dict[int, list[int]] = {}
    for batch in drain(BatchStream(toy, order, batch_size=24, stop=24 * most, threads=0, draw="cycle")):
        for item, row in zip(batch["items"], batch["rows"], strict=True):
            drawn.setdefault(item, []).append(row)
    for item, rows in drawn.items():
        _, first_row, n_rows = toy.item(item)
        for start in range(most - n_rows + 1):  # any n_rows epochs in a row, not only the first
            assert sorted(rows[start : start + n_rows]) == list(range(first_row, first_row + n_rows))
    firsts = {rows[0] - toy.item(item).first_row for item, rows in drawn.items() if toy.item(item).n_rows > 1}
    assert len(firsts) > 1, "items must not all start at the same row"


def depth(view: Sample) -> dict[str, np.ndarray]:
    return {"depth": view.array("depth")}


def mask_bytes(view: Sample) -> dict[str, np.ndarray]:
    return {"mask": np.frombuffer(view.payload("mask"), np.uint8)}


def test_a_view_offers_everything_about_its_sample(toy: ShardSet) -> None:
    def decode(view: Sample) -> dict[str, np.ndarray]:
        record, first_row, n_rows = toy.item(view.global_item)
        values = toy_record(record).values
        assert (view.key, view.meta) == (f"image{record:04d}", values["meta"])
        assert view.meta["items"][view.item] == [first_row, n_rows] == [view.first_row, view.n_rows]
        assert view.epoch == view.position // 24
        assert bytes(view.payload("mask")) == values["mask"]
        np.testing.assert_array_equal(view.array("tokens"), values["tokens"][view.row])
        np.testing.assert_array_equal(view.array("latent"), values["latent"][0])
        np.testing.assert_array_equal(view.array("depth"), values["depth"])
        np.testing.assert_array_equal(view.record.array("tokens"), values["tokens"])
        return {"size": np.array(view.array("depth").shape)}

    batches = drain(BatchStream(toy, Order(24, 2), batch_size=5, stop=50, labels=decode))
    assert [len(batch["size"]) for batch in batches] == [5] * 10


def test_a_batch_stays_valid_until_the_one_after_the_next_is_asked_for(toy: ShardSet) -> None:
    order, allocated = Order(24, 0), []

    def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        allocated.append(np.empty(shape, dtype))
        return allocated[-1]

    with BatchStream(toy, order, batch_size=4, stop=400, fields=("tokens",), allocate=allocate) as stream:
        before = next(stream)
        kept = before.arrays["tokens"].copy()
        for batch in stream:
            np.testing.assert_array_equal(before.arrays["tokens"], kept)
            before, kept = batch, batch.arrays["tokens"].copy()
    assert len(allocated) == 4


def test_a_failing_decode_is_raised_with_the_record_and_its_cause(toy: ShardSet) -> None:
    def decode(view: Sample) -> dict[str, np.ndarray]:
        if view.key == "image0007":
            raise ZeroDivisionError("no pixels")
        return {"x": np.zeros(1)}

    with pytest.raises(LabelsFailed, match="image0007, item 0: ZeroDivisionError: no pixels") as caught:
        drain(BatchStream(toy, Order(24, 0, shuffle=False), batch_size=3, stop=24, labels=decode))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert reading_threads() == []


def reading_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shard-read")]


def test_a_consumer_that_stops_early_leaves_no_thread(toy: ShardSet) -> None:
    with BatchStream(toy, Order(24, 0), batch_size=2, fields=FIELDS, threads=3, ahead=4) as stream:
        next(stream)
        assert stream.position == 2
        assert reading_threads()
    assert reading_threads() == []
    assert list(stream) == []


def test_an_error_of_the_consumer_leaves_no_thread(toy: ShardSet) -> None:
    def train() -> None:
        with BatchStream(toy, Order(24, 0), batch_size=2, fields=FIELDS) as stream:
            next(stream)
            raise RuntimeError("loss is NaN")

    with pytest.raises(RuntimeError, match="NaN"):
        train()
    assert reading_threads() == []


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("field", ["latent", "tokens", "gist", "meta", "mask"])
def test_a_flipped_byte_is_named_before_its_batch_comes(damaged: Path, field: str, threads: int) -> None:
    table = ShardSet.open(damaged).index.fields[field]
    flip_byte(damaged / "toy-000001.tar", int(table.offset[5]))
    toy = ShardSet.open(damaged)
    stream = BatchStream(
        toy, Order(toy.n_rows, 0, shuffle=False), batch_size=1, stop=toy.n_rows, fields=FIELDS,
        threads=threads, unit="row", labels=mask_bytes,
    )  # fmt: skip
    positions = []

    def consume() -> None:
        for batch in stream:
            assert batch.keys != ["image0005"]
            positions.append(batch.position)

    with pytest.raises(CorruptShard, match=f"toy-000001.*image0005, field {field}, row 0"):
        consume()
    assert positions == list(range(14))  # the sentences of records 0 to 4
    assert reading_threads() == []


def test_sizes_that_differ_inside_a_batch_are_refused_by_name(toy: ShardSet) -> None:
    with pytest.raises(SchemaMismatch, match=r"record image0001: labels returned depth of shape \[3, 4\]"):
        drain(
            BatchStream(
                toy,
                Order(24, 0, shuffle=False),
                batch_size=3,
                labels=lambda view: {"depth": view.array("depth")},
            )
        )


def test_a_label_that_changes_its_dtype_is_refused(toy: ShardSet) -> None:
    """Copied into the first sample's array, 1.75 would become 1 without a word."""
    halves = iter([np.int64(1), np.float64(1.75)])
    stream = BatchStream(
        toy, Order(24, 0, shuffle=False), batch_size=2, threads=0, labels=lambda view: {"half": next(halves)}
    )
    with pytest.raises(SchemaMismatch, match=r"labels returned half as float64, for the first sample int64"):
        next(stream)


def test_sizes_may_differ_between_batches_of_one(toy: ShardSet) -> None:
    stream = BatchStream(toy, Order(24, 0), batch_size=1, stop=24, labels=depth)
    assert {batch["depth"].shape for batch in drain(stream)} == {(1, 2, 4), (1, 3, 4), (1, 4, 4)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": ("depth",)}, "varies by record; read it in labels="),
        ({"fields": ("mask",)}, "varies by record; read it in labels="),
        ({"batch_size": 5, "world": 2}, "does not divide by 2 ranks"),
        ({"rank": 1}, "rank 1 of world 1"),
        ({"position": 9, "stop": 8}, "expected 0 <= position <= stop"),
        ({"order": Order(23, 0)}, "over 23 samples, toy has 24 items"),
        ({"order": WindowedOrder((12, 12), 0, 1)}, "other shard sizes"),
        ({"unit": "sentence"}, "unit 'sentence' is unknown"),
        ({"ahead": 0}, "ahead=0"),
        ({"draw": "cyclic"}, "draw is 'cyclic'; expected one of random, cycle"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_once(toy: ShardSet, changes: dict, message: str) -> None:
    chosen = {"order": Order(24, 0), "batch_size": 4, **changes}
    with pytest.raises(ConfigError, match=message):
        BatchStream(toy, chosen.pop("order"), **chosen)


def test_decode_may_not_return_a_copied_field_again(toy: ShardSet) -> None:
    decode = lambda _: {"gist": np.zeros(1)}  # noqa: E731
    stream = BatchStream(toy, Order(24, 0), batch_size=4, fields=("gist",), labels=decode)
    with pytest.raises(ConfigError, match="'gist', which is also in fields="):
        drain(stream)


def test_rows_are_the_same_read_together_and_one_by_one(tmp_path: Path) -> None:
    """Fields that lie too far apart for one read, in any order, beside ones that do not."""
    far = Field("far", "npy", "float16", (9000,), unit="18 kB, which no read goes over")
    schema = Schema(
        (Field("a", "npy", "int32", ("V", 5), "view"), far, Field("b", "npy", "int32", (3,)), Field("meta", "json")),
        "view",
    )
    rng = np.random.default_rng(0)
    records = [
        Record(f"r{number}", {"a": rng.integers(9, size=(2, 5), dtype=np.int32), "far": np.zeros(9000, np.float16),
                              "b": rng.integers(9, size=3, dtype=np.int32), "meta": {"items": [[0, 2]]}})
        for number in range(6)
    ]  # fmt: skip
    shard = write_shard(tmp_path, "far-000000", schema, records)
    seal_set(tmp_path, name="far", split="train", recipe={}, schema=schema, shards=[shard])
    for fields in (("a", "b"), ("b", "a"), ("a", "far", "b"), ("b",)):
        shards = ShardSet.open(tmp_path)
        with BatchStream(shards, Order(6, seed=1), batch_size=3, stop=6, fields=fields, threads=0) as stream:
            for batch in stream:
                for place, number in enumerate(batch.records.tolist()):
                    values = records[number].values
                    assert np.array_equal(batch.arrays["b"][place], values["b"])
                    assert "a" not in fields or np.array_equal(batch.arrays["a"][place], values["a"][batch.rows[place]])


def test_labels_of_a_batch_lie_in_arrays_of_the_stream(toy: ShardSet) -> None:
    """They are what labels one by one are; errors name records, and a name that is taken is refused."""

    def one(sample: Sample) -> dict[str, np.ndarray]:
        return {"number": np.full(3, sample.global_item, np.int32)}

    def at_once(samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
        number = room.array("number", (3,), np.int32)
        for place, sample in enumerate(samples):
            number[place] = sample.global_item
        return {"number": number}

    def broken(samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
        raise KeyError("depth")

    order, options = order_of(toy, seed=1), {"batch_size": 4, "stop": toy.n_items, "fields": FIELDS}
    single = drain(BatchStream(toy, order, labels=one, **options))
    batched = drain(BatchStream(toy, order, batch_labels=at_once, **options))
    assert all(np.array_equal(a["number"], b["number"]) for a, b in zip(single, batched, strict=True))
    with pytest.raises(LabelsFailed, match=r"batch of 4 records from \S+, .*KeyError: 'depth'"):
        drain(BatchStream(toy, order, batch_labels=broken, **options))
    with pytest.raises(ConfigError, match="'latent', which is also in fields="):
        drain(BatchStream(toy, order, batch_labels=lambda _, room: {"latent": room.array("x", (), int)}, **options))
    with pytest.raises(ConfigError, match="expected one of them"):
        BatchStream(toy, order, labels=one, batch_labels=at_once, **options)


@pytest.mark.parametrize("verify", [True, False])
def test_members_that_labels_ask_for_are_read_with_the_tensors(
    toy_root: Path, verify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    preadv = os.preadv
    monkeypatch.setenv(SWITCH, "0")  # the compiled reader calls nobody
    monkeypatch.setattr(os, "preadv", lambda *words: calls.append(1) or preadv(*words))
    shards = ShardSet.open(toy_root, verify=verify)
    seen: list[tuple[int, bytes]] = []
    each: list[int] = []

    def labels(sample: Sample) -> dict[str, np.ndarray]:
        seen.append((int(sample.meta["number"]), bytes(sample.payload("mask"))))
        return {}

    order = Order(shards.n_items, 1)
    with BatchStream(
        shards, order, batch_size=4, stop=24, fields=("gist", "tokens"), labels=labels, threads=0
    ) as stream:
        for batch in stream:
            each.append(len(calls))
            calls.clear()
            assert len(batch) == 4
    assert len(each) == 6
    assert each[0] > each[1] == each[-1] == 4, "one call a sample from the second batch on"
    for number, mask in seen:
        assert mask == toy_record(number).values["mask"]


def test_a_flipped_byte_in_a_member_that_is_read_ahead_is_named(damaged: Path) -> None:
    table = ShardSet.open(damaged).index.fields["mask"]
    flip_byte(damaged / "toy-000002.tar", int(table.offset[11] + table.length[11]) - 1)
    shards = ShardSet.open(damaged)

    def labels(sample: Sample) -> dict[str, np.ndarray]:
        sample.payload("mask")
        return {}

    stream = BatchStream(
        shards, Order(shards.n_items, 0, shuffle=False), batch_size=3, fields=("gist",), labels=labels, threads=0
    )
    with pytest.raises(CorruptShard, match=r"toy-000002\.tar.*image0011, field mask, row 0, at byte \d+"):
        for _ in stream:
            pass
