"""A subset is a set of its records: by keys, by meta, by share; and what is none is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.contract.parts import draw_of
from shards.errors import ConfigError, FingerprintMismatch
from shards.reading.conditions import holds
from shards.reading.order import order_of
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.reading.subset import Chosen, Subset, subset_of
from shards.upkeep.splitting import split_set
from tests.shards.toy_set import write_toy_set


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("subset") / "toy"
    write_toy_set(folder, (4, 3, 5))
    return ShardSet.open(folder)


def taken(shards: ShardSet, subset: Subset) -> ShardSet:
    return subset_of(shards, subset.records(shards))


def keys_of(shards: ShardSet) -> list[str]:
    return [shards.index.key(record) for record in range(shards.n_records)]


@given(numbers=st.sets(st.integers(0, 11), min_size=1), window=st.integers(0, 2), unit=st.sampled_from(["item", "row"]))
def test_any_records_are_read_as_a_set(shards: ShardSet, numbers: set[int], window: int, unit: str) -> None:
    chosen = sorted(numbers)
    part = subset_of(shards, np.array(chosen))
    assert keys_of(part) == [f"image{number:04d}" for number in chosen]
    assert part.manifest.counts["items"] == part.n_items == sum(len(shards.items_of_record(n)) for n in chosen)
    assert sum(shard.items for shard in part.manifest.shards) == part.n_items
    assert [len(part.items_of_record(place)) for place in range(part.n_records)] == [
        len(shards.items_of_record(number)) for number in chosen
    ]
    order = order_of(part, seed=1, window_shards=min(window, len(part.manifest.shards)), unit=unit)
    seen = []
    options: dict[str, Any] = {"fields": ("latent", "tokens"), "threads": 0, "unit": unit}
    with BatchStream(part, order, batch_size=3, stop=order.n_items, **options) as stream:
        for batch in stream:
            for place in range(len(batch)):
                sample = batch.sample(place)
                whole = shards.record(sample.meta["number"])
                assert sample.key == whole.key
                assert batch.arrays["tokens"][place].tolist() == whole.array("tokens")[sample.row].tolist()
                first, n_rows = sample.meta["items"][sample.item]
                assert (sample.first_row, sample.n_rows) == (first, n_rows)
                seen.append((sample.key, sample.item, sample.row if unit == "row" else 0))
    assert len(set(seen)) == len(seen) == order.n_items


def test_a_share_of_keys_is_stable_when_records_are_added(tmp_path: Path, shards: ShardSet) -> None:
    write_toy_set(tmp_path / "larger", (4, 3, 5, 9))
    larger = ShardSet.open(tmp_path / "larger")
    for seed in range(4):
        train, val = Subset(share=(0, 0.6), seed=seed), Subset(share=(0.6, 1), seed=seed)
        sides = [keys_of(taken(shards, one)) for one in (train, val)]
        assert sorted(sides[0] + sides[1]) == keys_of(shards), "every record on one side"
        later = [keys_of(taken(larger, one)) for one in (train, val)]
        assert [[key for key in side if key in keys_of(shards)] for side in later] == sides
    names = [f"image{number}" for number in range(4000)]
    draws = [int.from_bytes(draw_of(1, name)[:8], "big") / 2**64 for name in names]
    assert np.mean(np.array(draws) < 0.9) == pytest.approx(0.9, abs=0.02)


def test_conditions_and_keys_choose_together(shards: ShardSet) -> None:
    assert keys_of(taken(shards, Subset(where={"number": {"min": 3, "max": 5}}))) == [
        "image0003",
        "image0004",
        "image0005",
    ]
    both = Subset(keys=["image0009", "image0004", "image0001"], where={"number": [1, 9, 11]})
    assert keys_of(taken(shards, both)) == ["image0001", "image0009"], "in the order of the set"
    assert keys_of(taken(shards, Subset(where=lambda meta: meta["number"] % 5 == 0))) == [
        "image0000", "image0005", "image0010"
    ]  # fmt: skip
    assert taken(shards, Subset()) is shards


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({"scene": "kitchen"}, True),
        ({"scene": ["hall", "kitchen"]}, True),
        ({"scene": "hall"}, False),
        ({"height": {"min": 480}}, True),
        ({"height": {"max": 479}}, False),
        ({"refs.category": 2}, True),
        ({"refs.category": {"min": 3}}, False),
        ({"tags": "b"}, True),
        ({"lit": 1}, False),
        ({"lit": True}, True),
        ({"absent": 1}, False),
        ({"scene": "kitchen", "height": 481}, False),
    ],
)
def test_conditions_mean_what_they_say(conditions: dict[str, Any], fits: bool) -> None:
    refs = [{"category": 1}, {"category": 2}]
    assert holds(conditions, {"scene": "kitchen", "height": 480, "refs": refs, "tags": ["a", "b"], "lit": True}) == fits


def test_its_fingerprint_is_that_of_the_same_set_written(tmp_path: Path, shards: ShardSet) -> None:
    keys = ["image0001", "image0002", "image0007"]
    split_set(shards.folder, tmp_path, {"some": keys})
    part, written = taken(shards, Subset(keys=keys)), ShardSet.open(tmp_path / "some")
    assert part.manifest.fingerprint == written.manifest.fingerprint != shards.manifest.fingerprint
    assert {**part.manifest.counts, "rejects": 0} == {**written.manifest.counts, "rejects": 0}
    for record in range(3):
        assert part.record(record).payload("latent") == written.record(record).payload("latent")


def test_a_choice_holds_for_the_same_set_only(tmp_path: Path, shards: ShardSet) -> None:
    chosen = Chosen(shards, Subset(keys=["image0003"]))
    assert keys_of(chosen.of(shards)) == ["image0003"]
    write_toy_set(tmp_path / "other", (2,))
    with pytest.raises(FingerprintMismatch, match="had 12 records when a subset was chosen, and has 2 now"):
        chosen.of(ShardSet.open(tmp_path / "other"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": ["imege0003"]}, "has no record 'imege0003'. Did you mean 'image0003'\\? 1 of 1 keys are unknown"),
        ({"keys": ["image0001", "image0001"]}, "keys name 'image0001' twice"),
        ({"keys": "image0001"}, "expected a list of record keys"),
        ({"where": {"nunber": 3}}, "where.nunber: no meta of toy has it. Did you mean 'number'\\?"),
        ({"where": {"number": {"mim": 3}}}, "where.number has 'mim'; Did you mean 'min'\\?"),
        ({"where": {"number": {"min": "3"}}}, "expected {min: NUMBER, max: NUMBER}"),
        ({"where": {"number": []}}, "an empty list, which no record fits"),
        ({"where": {"number": 99}}, "no record of toy \\(12\\) is in the subset"),
        ({"share": (0.9, 0.1)}, "share is \\[0.9, 0.1\\]"),
        ({"share": (0, 1e-9)}, "no record of toy"),
    ],
)
def test_what_is_no_subset_is_refused(shards: ShardSet, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Subset(**options).records(shards)
