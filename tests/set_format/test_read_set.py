"""The second reader, examples/read_set.py, gives what this project's own reader and tasks give."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples import read_set
from shards.contract.lengths import per_metre
from shards.contract.manifest import PAGED, Manifest
from shards.geometry.view import View, cut_label
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from tests.shards.toy_set import flip_byte
from vpd.tasks.depth import task as depth
from vpd.tasks.depth.labels import metres, stored_depth
from vpd.tasks.refer import task as refer
from vpd.tasks.seg import task as seg

EXAMPLE = Path(read_set.__file__)
TASKS: dict[str, tuple[Any, str]] = {
    "refer": (refer.build(), "mask"),
    "seg": (seg.build(), "label"),
    "depth": (depth.build(crop_padding=False), "depth"),
}


def rows_of(folder: Path, **options: Any) -> BatchStream:
    """Every row of a set once, in order."""
    shards = ShardSet.open(folder)
    order = Order(shards.n_rows, seed=0, shuffle=False)
    return BatchStream(shards, order, batch_size=1, stop=shards.n_rows, unit="row", threads=0, **options)


@pytest.mark.parametrize("kind", TASKS)
def test_latents_labels_and_sentences_are_those_of_a_task(kind: str, set_folders: dict[str, Path]) -> None:
    task, name = TASKS[kind]
    fields = ("latent", "text") if kind == "refer" else ("latent",)
    found = read_set.samples(set_folders[kind])
    n, some = 0, False
    for batch in rows_of(set_folders[kind], fields=fields, labels=task.labels):
        sample, second = batch.sample(0), next(found)
        assert (second["key"], second["item"], second["row"]) == (sample.key, sample.item, sample.row)
        assert second["latent"].dtype == np.float16
        assert second["latent"].tobytes() == batch.arrays["latent"][0].tobytes()
        expected = batch.arrays[name][0]
        assert second["label"].dtype == expected.dtype
        np.testing.assert_array_equal(second["label"], expected)
        some = some or len(np.unique(expected)) > 1
        if kind == "refer":
            assert second["sentence"] == sample.meta["sentences"][sample.row]
            assert second["text"].tobytes() == batch.arrays["text"][0].tobytes()
        n += 1
    assert next(found, None) is None
    assert some
    assert n >= 4


def test_every_step_of_a_view_cuts_16_bit_depth_alike(set_folders: dict[str, Path]) -> None:
    """Boxes, windows, flips, padding on all sides and enlarged views, which no single task would take together."""
    shards, steps = ShardSet.open(set_folders["laser"]), set()
    field = shards.schema.field("depth")
    for batch, second in zip(rows_of(set_folders["laser"]), read_set.samples(set_folders["laser"]), strict=True):
        sample = batch.sample(0)
        view = View.from_json(sample.meta["views"][sample.row])
        expected = metres(cut_label(stored_depth(sample, field), view), per_metre(field))
        np.testing.assert_array_equal(second["label"], expected)
        assert expected.shape == (view.content_px if view.enlarged_px else view.size_px)
        assert expected.max() > 128, "the high byte is read"
        steps |= {("flip", view.flip), ("padded", any(view.pad_px)), ("before", any(view.pad_before_px))}
        steps |= {("enlarged", bool(view.enlarged_px))}
    assert len(steps) == 8


def test_pages_of_a_large_set_are_read_as_a_list(set_folders: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(set_folders["refer"], tmp_path / "refer"))
    replace(Manifest.load(root), version=PAGED).write(root)
    for sample, second in zip(read_set.samples(set_folders["refer"]), read_set.samples(root), strict=True):
        assert (sample["key"], sample["row"]) == (second["key"], second["row"])
        assert sample["latent"].tobytes() == second["latent"].tobytes()
    flip_byte(root / "shards" / "000000.npy", 300)
    with pytest.raises(ValueError, match=r"000000.npy: its SHA-256"):
        list(read_set.samples(root))


def test_a_flipped_byte_is_refused(set_folders: dict[str, Path], tmp_path: Path) -> None:
    for path in (set_folders["pose"]).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert [sample["label"] for sample in read_set.samples(tmp_path)] == [None] * 12
    flip_byte(tmp_path / "pose-000000.tar", 2000)
    with pytest.raises(ValueError, match=r"pose-000000.tar: its SHA-256"):
        list(read_set.samples(tmp_path))


def test_it_runs_alone_and_loads_nothing_of_this_project(set_folders: dict[str, Path], tmp_path: Path) -> None:
    script = (
        "import runpy, sys; sys.argv = ['read_set.py', sys.argv[2]]\n"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\n"
        "assert not {'shards', 'torch', 'webdataset', 'pycocotools', 'safetensors'} & sys.modules.keys()"
    )
    command = [sys.executable, "-c", script, "", str(set_folders["refer"])]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(run.stdout.splitlines()) == ShardSet.open(set_folders["refer"]).n_rows
