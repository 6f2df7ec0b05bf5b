"""Cut the compact set of recordings from the full one: python -m tests.golden.make_compact FULL_SET [OUT].

Owns what the compact set keeps and how it is packed; `tests/golden_files.py` reads it. Nothing is unpickled: the
checkpoints are carried byte for byte, and share the UNet and the VAE that they have in common because one xz stream
packs them all. The same full set and the same liblzma give the same bytes.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import lzma
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save

from tests.golden_files import CHECKPOINTS, COMPACT, GoldenSet, grid

PICTURE = ["...", "1::4", "2::4"]  # the grid that the full set itself uses for large pictures
EVERY_SECOND = ["...", "::2", "::2"]
QUARTER = [":", "::4"]  # of the channels
ONE_SAMPLE = [":1"]
STATES = ("checkpoint", "what", "seed", "preprocessing")


@dataclass(frozen=True)
class Cut:
    """What the compact set keeps of a recording: these facts, and all tensors but some, some of them on a grid."""

    facts: tuple[str, ...] = ()
    without: tuple[str, ...] = ()  # patterns of tensors that no test reads
    thinned: dict[str, list[str]] = field(default_factory=dict)


CUTS = {
    "ldm": Cut(),
    "unet_wrapper": Cut(
        without=("rawmap.*", "sel_up_self.*"),
        thinned={name: [":1", *EVERY_SECOND] for name in (*(f"default.feat{i}" for i in range(3)), "max_attn.attn64")}
        | {f"nonsquare_noattn.feat{i}": EVERY_SECOND for i in range(3)}
        | {f"sel_{side}_cross.attn32": EVERY_SECOND for side in ("down", "up")}
        | {"default.feat3": ONE_SAMPLE},
    ),
    "vpd_refer": Cut(
        ("ce", "grad", "metrics", "lr_schedule", "optimizer_groups"),
        ("transform.out_image", "transform.image_u8_hwc"),
        {"logits": PICTURE, "grad.logits_train_mode": EVERY_SECOND, "feat1": [":", "::2"]},
    ),
    "vpd_depth": Cut(
        ("grad", "optimizer_groups"),
        thinned={
            "s352.pred_d": PICTURE,
            "grad.pred_d": PICTURE,
            "s352.encoder_out_ch_every4": [":", "::4"],
            "s352.feat1": [":", "::2"],
            "s352.feat2": QUARTER,
            "s480.pred_d_every4": EVERY_SECOND,
            "s512.pred_d_every4": EVERY_SECOND,
        },
    ),
    "vpd_seg": Cut(
        ("loss_eval_mode", "grad", "optimizer", "lr_config"),
        thinned={f"{name}.prob_every4": EVERY_SECOND for name in ("slide", "slide_flip_rescale")},
    ),
    "metaprompts_depth": Cut(
        ("grad",), ("pred_d", "encoder_out"), {"pred_d_f64": EVERY_SECOND, "last.feat1": QUARTER, "odd.feat1": QUARTER}
    ),
    "metaprompts_seg": Cut(),
    "depth_metrics": Cut(
        (
            "silog",
            "nyu",
            "nyu_inf_nan",
            "kitti_garg_crop_on_nyu_arrays",
            "kitti_eigen_crop_on_nyu_arrays",
            "tta_*",
            "lr_schedule",
        )
    ),
    "dift": Cut(
        ("weights", "configs", "tokenizer", "prompts", "runs", "spair", "daam"),
        (
            *("daam.full.*", "daam.nocfg.*", "daam.step1.raw.*", "daam.step1.global_*", "daam.step1.word_*"),
            *("daam.*cond_states", "daam.step1.word.photo", "prompt.*", "*.latents", "*.latents_noisy"),
            *("*.members.*", "eval.resized*"),
        ),
        {f"{run}.up{i}": QUARTER for run in ("single", "ensemble4", "null_t101", "nonsquare") for i in range(1, 4)}
        | {f"{run}.up1": QUARTER for run in ("t0", "eval")}
        | {f"spair.{name}.up1": [":", "::16"] for name in ("cat0", "cat1", "cat2", "guitar0", "guitar1")}
        | {f"daam.step1.{name}": EVERY_SECOND for name in ("global", "word.cat")},
    ),
}
# In an order that keeps the repeated UNet within the xz dictionary.
PUBLISHED = (
    "ldm_sd_v1_like.ckpt",
    "vpd_refer_model_best.pth",
    "vpd_seg_iter.pth",
    "vpd_depth_last.ckpt",
    "metaprompts_depth_best.ckpt",
    "metaprompts_seg_extra.pth",
)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def packed(data: bytes, *, delta: int = 0, dictionary_mib: int = 8) -> bytes:
    """One xz stream, set for numbers of 4 bytes.

    Args:
        data: what to pack.
        delta: bytes from a number to its neighbour's, where neighbours are alike (pictures); 0 for none.
        dictionary_mib: how far back repetitions are seen.
    """
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary_mib << 20, "lc": 0, "lp": 2, "pb": 2}
    first = [{"id": lzma.FILTER_DELTA, "dist": delta}] if delta else []
    return lzma.compress(data, filters=[*first, lzma2])


def cut_recording(full: GoldenSet, name: str, cut: Cut) -> tuple[dict[str, bytes], dict[str, object]]:
    """The files of a recording's compact form, and what it leaves out."""
    recording = full.recording(name)
    left_out = sorted(key for key in recording.tensors if matches(key, cut.without))
    kept = {key: value for key, value in recording.tensors.items() if key not in left_out}
    kept |= {key: kept[key][grid(axes)].contiguous() for key, axes in cut.thinned.items()}
    integers = {key: value for key, value in kept.items() if value.dtype in (torch.uint8, torch.int16)}
    others = {key: value for key, value in kept.items() if key not in integers}
    facts = {key: value for key, value in recording.facts.items() if matches(key, (*cut.facts, *STATES))}
    files = {
        f"{name}.safetensors.xz": packed(save(others)),
        f"{name}.json": json.dumps(facts, indent=None, sort_keys=True).encode() + b"\n",
    }
    if integers:
        widest = max(value.element_size() for value in integers.values())
        files[f"{name}.integers.safetensors.xz"] = packed(save(integers), delta=widest)
    dropped = sorted(set(recording.facts) - set(facts) - {"tensors"})
    return files, {"tensors": left_out, "facts": dropped, "thinned": cut.thinned}


def packed_checkpoints(full: GoldenSet) -> bytes:
    """All checkpoints in one tar without dates or owners."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in PUBLISHED:
            data = full.checkpoint(name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed(held.getvalue(), dictionary_mib=128)


def write_compact(source: Path, out: Path) -> None:
    """Write the compact set of a full one into a folder."""
    files: dict[str, bytes] = {}
    reduced: dict[str, object] = {}
    with GoldenSet(source) as full:
        for name, cut in CUTS.items():
            more, reduced[name] = cut_recording(full, name, cut)
            files |= more
        files[CHECKPOINTS] = packed_checkpoints(full)
    files["REDUCED.json"] = json.dumps(reduced, indent=1, sort_keys=True).encode() + b"\n"
    manifest = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in sorted(files.items())
    }
    files["MANIFEST.json"] = json.dumps(manifest, indent=1).encode() + b"\n"
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (out / name).write_bytes(data)
        print(f"{len(data):>9} {name}")
    print(f"{sum(map(len, files.values())):>9} bytes in {len(files)} files")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    write_compact(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else COMPACT)
