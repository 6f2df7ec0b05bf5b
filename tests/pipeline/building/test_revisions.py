"""Whoever changes a byte of what a component makes raises its revision: fixed inputs, and hashes of what comes out.

After a change that is meant: raise the component's number in `pipeline.building.environments.REVISIONS`, then write the
hashes anew with `PYTHONPATH=. python tests/pipeline/building/test_revisions.py`, which refuses under an old number.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.building.environments import REVISIONS
from pipeline.encoders import clip_text, sd_vae
from pipeline.files.label_png import counted, encode_label, read_label
from pipeline.files.photos import decode_picture
from pipeline.rendering.geometry import render, to_pixels
from pipeline.sources import depth_folders
from pipeline.views import depth, depth_tiles, exact, persons, segmentation, segmentation_tiles, view_runs
from shards.contract.schema import Field, Record, Schema
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from shards.writing.writer import write_shard
from tests.pipeline.tiny_model import write_model
from tests.pipeline.toys import Build

RECORDED = Path(__file__).with_name("revisions.json")
SIZE_PX = (60, 80)
STEPS: tuple[tuple[str | float, ...], ...] = (("gamma", 1.05), ("photometric_brightness", 9.0))


def scene() -> np.ndarray:
    """A picture with edges, ramps and noise, uint8 [60, 80, 3]."""
    rng, (height, width) = np.random.default_rng(3), SIZE_PX
    ramp = np.add.outer(np.arange(height) * 2, np.arange(width))[..., None] + np.array([0, 40, 80])
    picture = (ramp + rng.integers(0, 30, (height, width, 3))) % 256
    picture[20:40, 30:60] = (250, 10, 60)
    return picture.astype(np.uint8)


def rendering(folder: Path) -> bytes:
    files = []
    for form, options in (("PNG", {}), ("JPEG", {"quality": 90})):
        payload = io.BytesIO()
        Image.fromarray(scene()).save(payload, form, **options)
        files.append(decode_picture(payload.getvalue(), form))
    box, out = (3, 5, 75, 59), list[bytes]()
    for kernel in ("pil_bilinear", "pil_bicubic", "pil_nearest"):
        for flip in (False, True):
            view = View((48, 48), box, (40, 53), (2, 1, 42, 39), kernel, flip, (5, 4), STEPS, None, (5, 4))
            out += [to_pixels([render(one, view)], (48, 48), pad_before_px=[(5, 4)]).tobytes() for one in files]
    enlarged = View((64, 64), box, (40, 53), (2, 1, 42, 39), enlarged_px=(64, 64))
    return b"".join([*out, render(scene(), enlarged).tobytes()])


def labels(folder: Path) -> bytes:
    values = (scene()[..., 0] // 40).astype(np.uint8)
    Image.fromarray(values).save(folder / "label.png")
    found = read_label(folder / "label.png", class_of=counted(6, zero_is_ignored=True))
    for side, pixels in (("images", scene()), ("depths", scene()[..., 1].astype(np.uint16) * 30)):
        (folder / side / "train").mkdir(parents=True)
        Image.fromarray(pixels).save(folder / side / "train" / "a.png")
    source = depth_folders.build(folder, 1000, 10.0, splits=["train"])
    label = source.load("train", "a").labels["depth"]
    decoded = np.array(Image.open(io.BytesIO(encode_label(found))))
    return found.tobytes() + decoded.tobytes() + np.array(Image.open(io.BytesIO(bytes(label)))).tobytes()


def views(folder: Path) -> bytes:
    values = {"label": encode_label((scene()[..., 0] // 40).astype(np.uint8))}
    plans: list[Any] = [
        exact.build(64),
        segmentation.build(k=3, crop=64, base=(256, 64)),
        segmentation_tiles.build(crop=64, stride=43, base=(256, 64), flip=True),
        depth.build(k=3, crop=48, size=64, cut_depth="none"),
        depth_tiles.build(size=64, short_side=60, stride=40),
    ]
    made = [view.to_json() for plan in plans for view in plan.views("key", *SIZE_PX, values)]
    boxes = persons.build(mode="k", k=2, size=(64, 48))
    runs = view_runs(boxes, "key", SIZE_PX, ((5.0, 6.0, 40.5, 50.0),), values)
    made += [view.to_json() for run in runs for view in run]
    return json.dumps(made, sort_keys=True).encode()


def encoders(folder: Path) -> bytes:
    """Numbers to two digits, since the last bits are those of a machine and its libraries."""
    write_model(folder, seed=0)
    pixels = to_pixels([scene()[:56, :56]], (56, 56))
    latents = sd_vae.build(str(folder), logvar=True).encode(pixels)
    text = clip_text.build(str(folder), length=12)
    states = text.encode(text.tokenize(["a b", "c d e"]))
    coarse = [np.abs(array.astype(np.float64)).mean((-1, -2)).round(2) for array in (*latents.values(), states)]
    return b"".join((array + 0.0).tobytes() for array in coarse)


def stages(folder: Path) -> bytes:
    build = Build(folder / "toys")
    build.run()
    found = ShardSet.open(str(folder / "toys"))
    records = [found.record(number) for number in range(found.n_records)]
    arrays = b"".join(record.array(name).tobytes() for record in records for name in ("latent", "tokens", "text"))
    return arrays + json.dumps([[record.key, record.meta] for record in records], sort_keys=True).encode()


def shards(folder: Path) -> bytes:
    fields = (Field("latent", "npy", "float16", ("V", 2, 3), "view"), Field("label", "png"), Field("meta", "json"))
    rows = np.arange(12, dtype=np.float16).reshape(2, 2, 3)
    values = {"latent": rows, "label": b"\x89PNG\r\n\x1a\nx", "meta": {"items": [[0, 2]], "name": "é", "x": 0.1}}
    write_shard(folder, "s", Schema(fields, "view"), [Record("a", values), Record("b-1", values)])
    return (folder / "s.tar").read_bytes() + (folder / "s.idx").read_bytes()


COMPONENTS: dict[str, Callable[[Path], bytes]] = {
    function.__name__: function for function in (rendering, labels, views, encoders, stages, shards)
}


def sha256_of(name: str, folder: Path) -> str:
    return hashlib.sha256(COMPONENTS[name](folder)).hexdigest()


def test_every_component_is_looked_at() -> None:
    assert set(COMPONENTS) == set(REVISIONS)


@pytest.mark.parametrize("name", COMPONENTS)
def test_bytes_change_with_the_revision_alone(name: str, tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())[name]
    assert recorded["revision"] == REVISIONS[name], f"write {RECORDED.name} anew, see above"
    assert sha256_of(name, tmp_path) == recorded["sha256"], (
        f"the bytes of {name} have changed: a set would be a mixture of both. Raise REVISIONS[{name!r}] in "
        f"pipeline/building/environments.py, and write {RECORDED.name} anew"
    )


def test_a_component_that_changed_is_not_recorded_under_its_old_number(tmp_path: Path) -> None:
    before = {"shards": {"revision": REVISIONS["shards"], "sha256": "0" * 64}}
    with pytest.raises(SystemExit, match="shards has changed; raise its number"):
        record(before, {"shards": "1" * 64})
    assert record(before, {"shards": "0" * 64}) == before


def record(before: dict[str, Any], now: dict[str, str]) -> dict[str, Any]:
    for name, sha256 in now.items():
        known = before.get(name)
        if known and known["revision"] == REVISIONS[name] and known["sha256"] != sha256:
            raise SystemExit(f"{name} has changed; raise its number in pipeline/building/environments.py first")
    return {name: {"revision": REVISIONS[name], "sha256": sha256} for name, sha256 in now.items()}


if __name__ == "__main__":
    found = {}
    for component in COMPONENTS:
        with tempfile.TemporaryDirectory() as place:
            found[component] = sha256_of(component, Path(place))
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    RECORDED.write_text(json.dumps(record(known, found), indent=1) + "\n")
    sys.exit(0)
