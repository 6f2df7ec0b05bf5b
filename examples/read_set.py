"""Reads a set as docs/format.md describes it, with NumPy and the standard library (Pillow for PNGs), nothing of ours.

    python examples/read_set.py FOLDER

`samples` gives every sample of a set once: the latent of a view, its label cut to that view, and its sentence.
"""

import hashlib
import io
import json
import re
import sys
from pathlib import Path

import numpy as np


def samples(folder):
    """A dict for every row of every item: key, item, row, latent [C, h, w], label [H, W] or None; of sets of sentences
    also sentence, and text: its states, or token ids where there are none."""
    manifest = json.loads((Path(folder) / "manifest.json").read_bytes())
    if manifest["version"] not in (1, 2):
        raise ValueError(f"{folder}: version {manifest['version']}, this reads 1 and 2")
    units = {field["name"]: field["unit"] for field in manifest["schema"]["fields"]}
    by_view = manifest["schema"]["item_axis"] == "view"
    for key, values in records(Path(folder), manifest):
        meta = values["meta"]
        for item, (first, count) in enumerate(meta["items"]):
            for row in range(first, first + count):
                view = row if by_view else 0
                label = label_of(values, units, item, meta["views"][view])
                sample = {"key": key, "item": item, "row": row, "latent": values["latent"][view], "label": label}
                if not by_view:
                    sample |= {"sentence": meta["sentences"][row], "text": values.get("text", values["tokens"])[row]}
                yield sample


def records(folder, manifest):
    """(key, {field: array, bytes or parsed JSON}) of every record, from files whose hashes are right."""
    for shard in manifest["shards"] if manifest["version"] == 1 else listed(folder, manifest["shards"]):
        tar, idx = (checked(folder / f"{shard['name']}.{kind}", shard[f"{kind}_sha256"]) for kind in ("tar", "idx"))
        index = arrays_of(idx)
        ends = index["key_ends"].tolist()
        for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
            values = {}
            for field in manifest["schema"]["fields"]:
                name, codec = field["name"], field["codec"]
                offset, length = (int(index[f"{name}.{part}"][number]) for part in ("offset", "length"))
                payload = values[name] = tar[offset : offset + length]
                if codec == "json":
                    values[name] = json.loads(payload)
                elif codec == "npy":
                    dtype = np.dtype(field["dtype"]).newbyteorder("<")
                    values[name] = np.frombuffer(payload, dtype).reshape(index[f"{name}.shape"][number])
            yield bytes(index["keys"][begin:end]).decode(), values


def listed(folder, shards):
    """Names and hashes of the shards of version 2, from files beside the manifest."""
    for number, sha256 in enumerate(shards["pages_sha256"]):
        for row in np.load(io.BytesIO(checked(folder / "shards" / f"{number:06d}.npy", sha256))):
            hashes = {name: row[name].tobytes().hex() for name in ("tar_sha256", "idx_sha256")}
            yield {"name": row["name"].decode(), **hashes}


def checked(path, sha256):
    payload = path.read_bytes()
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise ValueError(f"{path}: its SHA-256 is not the manifest's")
    return payload


def arrays_of(safetensors):
    """{name: array} of an index."""
    start = 8 + int.from_bytes(safetensors[:8], "little")
    arrays = {}
    for name, at in json.loads(safetensors[8:start]).items():
        begin, end = at["data_offsets"]
        dtype = {"U8": "u1", "U32": "<u4", "U64": "<u8"}[at["dtype"]]
        arrays[name] = np.frombuffer(safetensors[start + begin : start + end], dtype).reshape(at["shape"])
    return arrays


def label_of(values, units, item, view):
    """The label as the view shows it: mask uint8, classes uint8, depth float32 in metres."""
    if "refs" in values["meta"]:
        return cut(mask(values["meta"]["refs"][item]["rle"]), view, 0)
    if "label" in values:
        return cut(png(values["label"]), view, values["meta"]["ignore"])
    if "depth" in values:
        stored = png(values["depth"]).astype(np.uint16) if isinstance(values["depth"], bytes) else values["depth"]
        part, milli = re.search(r"(?:1/(\d+) )?(milli)?metres", units["depth"]).groups()
        return cut(stored, view, 0).astype(np.float32) / np.float32(1000 if milli else part or 1)
    return None


def png(payload):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(payload)))


def mask(rle):
    """COCO's compressed run lengths -> uint8 [H, W]."""
    runs, value, shift = [], 0, 0
    for character in rle["counts"].encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    pixels = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    return pixels.reshape(rle["size"], order="F")


def cut(label, view, fill):
    """The part of a full-size label that a view shows: box, nearest resize, window, flip, padding."""
    x0, y0, x1, y1 = view["box_px"]
    rows, columns = y0 + nearest(y1 - y0, view["resized_px"][0]), x0 + nearest(x1 - x0, view["resized_px"][1])
    x0, y0, x1, y1 = view["window_px"]
    shown = label[rows[y0:y1, None], columns[None, x0:x1]]
    shown = shown[:, ::-1] if view["flip"] else shown
    (top, left), (bottom, right) = view.get("pad_before_px", (0, 0)), view["pad_px"]
    return np.pad(shown, ((top, bottom), (left, right)), constant_values=fill)


def nearest(source, target):
    steps = np.full(target, source / target)
    steps[0] /= 2
    return np.cumsum(steps).astype(np.intp)  # a running sum: its rounding decides at ties


if __name__ == "__main__":
    for sample in samples(sys.argv[1]):
        shapes = [None if sample[name] is None else list(sample[name].shape) for name in ("latent", "label")]
        print(sample["key"], sample["item"], sample["row"], *shapes, sample.get("sentence", ""))
