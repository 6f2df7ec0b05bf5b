"""Other people's readers give the records of every kind of set: the same latents, labels and meta.

Those that are not installed here are skipped, and say so; `make peers` installs them in an environment of their own.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion_perception import SetStream, publish_sets
from shards.reading.reader import ShardSet
from shards.upkeep.energon import describe_for_energon
from shards.upkeep.hub_features import hub_features
from tests.set_format.built_sets import KINDS

Values = dict[str, Any]  # member -> array, parsed JSON or bytes


def ours(folder: Path) -> dict[str, Values]:
    """Every record by its key, as this project reads it; a PNG as its pixels."""
    shards, found = ShardSet.open(folder), {}
    for number in range(shards.n_records):
        record, values = shards.record(number), {}
        for field in shards.schema.fields:
            if field.codec == "npy":
                values[field.member] = record.array(field.name)
            elif field.codec == "json":
                values[field.member] = record.meta
            else:
                values[field.member] = np.asarray(Image.open(io.BytesIO(record.payload(field.name))))
        found[record.key] = values
    return found


def same(folder: Path, records: Iterator[tuple[str, Values]]) -> None:
    """All records of the set, each once, every value of each as it is."""
    expected, seen = ours(folder), set()
    for key, values in records:
        assert key not in seen
        seen.add(key)
        for member, value in expected[key].items():
            if member.endswith(".json"):
                found = values[member]
                assert rounded(json.loads(found) if isinstance(found, bytes | str) else found) == rounded(value), member
            else:
                array = arrayed(values[member])
                assert array.shape == value.shape, member
                assert np.array_equal(array, value), member
    assert seen == expected.keys()


def rounded(value: Any) -> Any:
    """JSON with its numbers to nine digits: `datasets` keeps ten behind the point."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def arrayed(value: Any) -> np.ndarray:
    """An array as a reader hands it out: as it is, as nested lists, as a picture, or as the bytes of a file."""
    if not isinstance(value, bytes):
        return np.asarray(value)
    return np.load(io.BytesIO(value)) if value.startswith(b"\x93NUMPY") else np.asarray(Image.open(io.BytesIO(value)))


@pytest.mark.parametrize("kind", KINDS)
def test_webdataset_reads_a_set(kind: str, set_folders: dict[str, Path]) -> None:
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, set_folders[kind].glob("*.tar")))
    same(set_folders[kind], ((one["__key__"], one) for one in webdataset.WebDataset(tars, shardshuffle=False)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streaming", [False, True])
def test_hugging_face_datasets_reads_a_set(
    kind: str, streaming: bool, set_folders: dict[str, Path], tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "Json"):
        pytest.skip(f"datasets {datasets.__version__} has no Json type yet")
    features = datasets.Features.from_dict(hub_features(ShardSet.open(set_folders[kind]).schema))
    options = {"split": "train", "streaming": streaming, "cache_dir": str(tmp_path), "features": features}
    tars = {"train": f"{set_folders[kind]}/*.tar"}
    rows = datasets.load_dataset("webdataset", data_files=tars, **options)
    same(set_folders[kind], ((row["__key__"], row) for row in rows))


@pytest.mark.parametrize("streaming", [False, True])
def test_hugging_face_datasets_reads_published_sets_by_their_card(
    streaming: bool, set_folders: dict[str, Path], tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "Json"):
        pytest.skip(f"datasets {datasets.__version__} has no Json type yet")
    kinds = ("seg", "laser")
    publish_sets([set_folders[kind] for kind in kinds], str(tmp_path / "hub"), may_publish=True)
    for kind in kinds:
        options = {"streaming": streaming, "cache_dir": str(tmp_path / "cache")}
        (rows,) = datasets.load_dataset(str(tmp_path / "hub"), kind, **options).values()
        same(set_folders[kind], ((row["__key__"], row) for row in rows))


@pytest.mark.parametrize("kind", KINDS)
def test_wids_reads_its_index(kind: str, set_folders: dict[str, Path], tmp_path: Path) -> None:
    wids = pytest.importorskip("wids")
    folder = set_folders[kind]
    index, options = str(folder / "wids.json"), {"cache_dir": str(tmp_path), "keep": True}
    records = wids.ShardListDataset(index, base=str(folder), transformations=[], **options)
    assert len(records) == ShardSet.open(folder).n_records
    read = (records[number] for number in range(len(records)))
    same(folder, ((one["__key__"], {name.lstrip("."): opened(value) for name, value in one.items()}) for one in read))


def opened(value: Any) -> Any:
    return value.read() if hasattr(value, "read") else value


@pytest.mark.parametrize("kind", KINDS)
def test_energon_reads_a_set_that_was_described_for_it(kind: str, set_folders: dict[str, Path], tmp_path: Path) -> None:
    energon = pytest.importorskip("megatron.energon")
    folder = shutil.copytree(set_folders[kind], tmp_path / "set")
    describe_for_energon(folder)
    alone = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    data = energon.get_val_dataset(folder, worker_config=alone, batch_size=1, task_encoder=plain_encoder(energon))
    same(folder, ((one["__key__"].rpartition("/")[2], one) for (one,) in energon.get_loader(data)))


def plain_encoder(energon: Any) -> Any:
    """Records as they are, in batches that are lists."""

    class Plain(energon.DefaultTaskEncoder):
        decoder = None
        cookers = (energon.Cooker(energon.stateless(lambda sample: sample)),)

        def batch(self, samples: list[Any]) -> list[Any]:
            return samples

    return Plain()


def test_torchdata_resumes_a_stream_exactly(set_folders: dict[str, Path]) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def loader() -> Any:
        stream = SetStream(set_folders["seg"], 1, seed=2)
        return stateful.StatefulDataLoader(stream, batch_size=None, num_workers=2)

    whole = [batch["key"] for batch in loader()]
    first, keys = loader(), []
    for batch in first:
        keys.append(batch["key"])
        if len(keys) == 2:
            break
    state, again = first.state_dict(), loader()
    again.load_state_dict(state)
    assert keys + [batch["key"] for batch in again] == whole
