"""A set by number: what a Dataset of PyTorch promises, with samples equal to the reader's."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from diffusion_perception import SetDataset
from shards.errors import ConfigError, FingerprintMismatch, LabelsFailed
from shards.reading.batch import Sample
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from tests.shards.toy_set import write_toy_set


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch") / "toy"
    write_toy_set(folder, sizes=(3, 2, 4))
    return folder


def depth_of(sample: Sample) -> dict[str, np.ndarray]:
    """Differs in shape from record to record."""
    return {"depth": sample.array("depth")}


def fails(sample: Sample) -> dict[str, np.ndarray]:
    raise ZeroDivisionError("no")


def test_every_row_of_a_set_by_number(root: Path) -> None:
    data, shards = SetDataset(root, ("latent", "tokens"), depth_of), ShardSet.open(root)
    expected = [
        (shards.index.key(item.record), number, row)
        for number in range(shards.n_items)
        for item in [shards.item(number)]
        for row in range(item.first_row, item.first_row + item.n_rows)
    ]
    assert len(data) == len(expected) == shards.n_rows
    assert [(sample["key"], sample["item"], sample["row"]) for sample in data] == expected
    for number in (0, 7, len(data) - 1):
        sample, record = data[number], shards.record(shards.item(expected[number][1]).record)
        assert sample["latent"].dtype == torch.float16
        assert np.array_equal(sample["latent"].numpy(), record.array("latent", 0, 1)[0])
        assert np.array_equal(sample["tokens"].numpy(), record.array("tokens", sample["row"], 1)[0])
        assert np.array_equal(sample["depth"].numpy(), record.array("depth"))


def test_numbers_and_slices_are_those_of_a_list(root: Path) -> None:
    data = SetDataset(root, ("tokens",))
    tokens = [sample["tokens"].tolist() for sample in data]
    assert data[-1]["tokens"].tolist() == tokens[-1]
    assert [sample["tokens"].tolist() for sample in data[10:2:-3]] == tokens[10:2:-3]
    assert [sample["tokens"].tolist() for sample in data.__getitems__([3, 3, -2])] == [tokens[3], tokens[3], tokens[-2]]
    assert data[5:5] == []
    for beyond in (len(data), -len(data) - 1):
        with pytest.raises(IndexError, match=f"sample {beyond} of toy, which has {len(data)}"):
            data[beyond]


def test_samples_are_the_callers_and_pickle_as_themselves(root: Path) -> None:
    data = SetDataset(root)
    one, other = data[0], data[0]
    one["latent"].zero_()
    assert other["latent"].any()
    assert len(pickle.dumps(data[:2][1])) < 2_000
    sent = pickle.dumps(data)
    assert len(sent) < 2_000
    assert torch.equal(pickle.loads(sent)[3]["latent"], data[3]["latent"])


def test_items_draw_the_streams_rows_epoch_by_epoch(root: Path) -> None:
    data, shards = SetDataset(root, unit="item", seed=5), ShardSet.open(root)
    n = shards.n_items
    order = Order(n, 0, shuffle=False)
    with BatchStream(shards, order, batch_size=n, stop=3 * n, draw_seed=5, threads=0) as stream:
        expected = [batch.rows.tolist() for batch in stream]
    drawn = []
    for epoch in range(3):
        data.set_epoch(epoch)
        drawn.append([sample["row"] for sample in data])
    assert drawn == expected
    again = SetDataset(root, unit="item", seed=5)
    again.load_state_dict(pickle.loads(pickle.dumps(data.state_dict())))
    assert [sample["row"] for sample in again] == expected[2] != expected[0]


def test_a_loader_divides_it_among_ranks(root: Path) -> None:
    data = SetDataset(root, ("tokens",))
    seen = []
    for rank in range(3):
        sampler = DistributedSampler(data, num_replicas=3, rank=rank, shuffle=True, seed=1)
        for batch in DataLoader(data, batch_size=2, sampler=sampler):
            assert batch["tokens"].shape[1:] == (5,)
            seen += zip(batch["item"].tolist(), batch["row"].tolist(), strict=True)
    assert len(set(seen)) == len(data)


def test_what_does_not_fit_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unit 'view' is unknown"):
        SetDataset(root, unit="view")
    with pytest.raises(ConfigError, match="a sample has 'key' already"):
        SetDataset(root, labels=lambda sample: {"key": 1})
    with pytest.raises(ConfigError, match=r"labels returns \['latent'\], which are also in fields="):
        SetDataset(root, labels=lambda sample: {"latent": np.zeros(1)})
    with pytest.raises(LabelsFailed, match="record image0000, item 0: ZeroDivisionError: no"):
        SetDataset(root, labels=fails)
    write_toy_set(tmp_path / "other", sizes=(2,))
    with pytest.raises(FingerprintMismatch, match="saved of a set with"):
        SetDataset(root).load_state_dict(SetDataset(tmp_path / "other").state_dict())
