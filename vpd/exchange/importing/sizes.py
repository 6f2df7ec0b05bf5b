"""What the weights of a published head say about the model around them: tokens, map levels, classes, widths.

Owns the blueprint of each task's import. Only what no weight can tell is assumed, and noted in the report: which paths
the averaged maps came from, the time step, the latent scale, the range of depth
(docs/methods/checkpoints.md#what-a-file-does-not-say).

Input widths of a head are the backbone's widths plus one channel per token where a level carries attention maps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from shards.errors import SchemaMismatch
from vpd.backbones.sd_unet.facts import COMPANIONS
from vpd.exchange.report import Report

Weights = Mapping[str, torch.Tensor]
Facts = dict[str, Any]
PLACES = "up+down"  # published selection; the weights only show that there are maps
TEXT_ENCODER = "openai/clip-vit-large-patch14"
POOL_SCALES = (1, 2, 3, 6)  # of UPerNet's pyramid pooling
REFER_TOKENS = 40  # without maps nothing shows it; RefCOCO's


def facts_of(
    reader: str, weights: Weights, channels: Sequence[int], beside: Mapping[str, Any], report: Report
) -> Facts:
    """Fields of a `vpd.exchange.pretrained.Blueprint`, without the UNet's config; of the task, options without the
    name.

    Args:
        reader: one of `READERS`.
        weights: adapter or prompts, head and class table under our names.
        channels: the UNet's levels, finest first.
        beside: what the file holds apart from weights.
        report: receives a note for everything assumed.

    Raises:
        SchemaMismatch: a deciding weight is missing, or widths contradict each other.
    """
    facts: Facts = READERS[reader](weights, channels, beside, report)
    at = "" if "prompts" in facts else "one pass at time step 1, "
    report.notes.append(f"not in the weights, as published: {at}raw latents (scale 1.0)")
    if facts["backbone"]["attention_maps"]:
        report.notes.append(f"not in the weights, as published: maps averaged over {PLACES}, without gradient")
    table = weights.get("class_embeddings")
    return facts | {"class_table": list(table.shape) if table is not None else None}


def _refer(weights: Weights, channels: Sequence[int], beside: Mapping[str, Any], report: Report) -> Facts:
    hidden, width = _shape(weights, f"head.conv1_{len(channels)}.weight")[0], channels[-1]
    inputs: list[int] = []  # finest first
    for suffix in range(len(channels), 1, -1):
        inputs.insert(0, _shape(weights, f"head.conv1_{suffix}.weight")[1] - width)
        width = hidden
    levels, tokens = _maps([*inputs, channels[-1]], channels)
    size_px = _published_size(beside, 512, report)
    if not tokens:
        tokens = REFER_TOKENS
        report.notes.append(f"no attention maps, so the sentence length is not in the weights: {tokens} assumed")
    return {
        "backbone": _backbone(levels),
        "tokens": tokens,
        "head": {} if hidden == channels[-1] // 2 else {"hidden": hidden},
        "size_px": [size_px, size_px],
        "encoders": {"text": {"name": COMPANIONS.text, "model": TEXT_ENCODER, "length": tokens}},
    }


def _seg(weights: Weights, channels: Sequence[int], beside: Mapping[str, Any], report: Report) -> Facts:
    laterals = [_shape(weights, f"head.neck.lateral_convs.{i}.conv.weight") for i in range(len(channels))]
    levels, tokens = _maps([shape[1] for shape in laterals], channels)
    classes = _shape(weights, "class_embeddings")[0]
    if levels and tokens != classes:
        raise SchemaMismatch(
            f"{report.source}: head.neck reads {tokens} map channels, but class_embeddings has {classes} classes."
        )
    report.notes.append("not in the weights, as published: 512 pixel windows")
    return {
        "task": {"classes": classes},
        "backbone": _backbone(levels),
        "tokens": classes,
        "head": {"channels": laterals[0][0]},
        "size_px": [512, 512],
        "class_names": _class_names(beside, classes),
    }


def _class_names(beside: Mapping[str, Any], classes: int) -> list[str]:
    """Names that mmcv keeps beside the weights, if they are as many as the classes."""
    names = beside.get("meta", {}).get("CLASSES") if isinstance(beside.get("meta"), Mapping) else None
    return [str(name) for name in names] if names and len(names) == classes else []


def _depth(weights: Weights, channels: Sequence[int], beside: Mapping[str, Any], report: Report) -> Facts:
    report.notes.append("not in the weights, as published for NYUv2: max_depth_m 10, 512 pixel views with padding")
    return {
        "backbone": _backbone(()),
        "tokens": 1,
        "head": {"width": _shape(weights, "head.out_layer.0.weight")[0], **_depth_stages(weights)},
        "size_px": [512, 512],
    }


def _depth_stages(weights: Weights) -> Facts:
    steps = range(0, 3 * len(weights), 3)
    deconvs = [f"head.deconv_layers.{step}.weight" for step in steps if f"head.deconv_layers.{step}.weight" in weights]
    return {
        "filters": [_shape(weights, name)[1] for name in deconvs],
        "kernels": [_shape(weights, name)[2] for name in deconvs],
        "hidden": _shape(weights, "head.conv_layers.0.weight")[0],
    }


def _prompt_depth(weights: Weights, channels: Sequence[int], beside: Mapping[str, Any], report: Report) -> Facts:
    report.notes.append(
        "not in the weights, as published for NYUv2: max_depth_m 10, 480 pixels shown at 512 (KITTI: "
        "task.max_depth_m=80 task.crop=garg size=448)"
    )
    neck_filters = _shape(weights, "head.layer2.deconv_layers.0.weight")[1]
    return _prompted(weights) | {
        "head": {"name": "prompt_depth", "neck_filters": neck_filters, **_depth_stages(weights)},
        "size_px": [512, 512],
    }


def _prompt_seg(weights: Weights, channels: Sequence[int], beside: Mapping[str, Any], report: Report) -> Facts:
    classes, width = _shape(weights, "head.decode_head.conv_seg.weight")[:2]
    scales = [name for name in weights if re.fullmatch(r"head\.decode_head\.psp_modules\.\d+\.1\.conv\.weight", name)]
    if len(scales) != len(POOL_SCALES):
        raise SchemaMismatch(f"{report.source}: {len(scales)} pooling branches, expected those of {POOL_SCALES}.")
    auxiliary = "head.auxiliary_head.conv_seg.weight"
    report.notes.append(
        f"not in the weights, as published: pooling to {POOL_SCALES}, 512 pixel windows (Cityscapes: size=1024)"
    )
    return _prompted(weights) | {
        "task": {"classes": classes},
        "head": {
            "name": "upernet",
            "channels": width,
            "auxiliary_channels": weights[auxiliary].shape[1] if auxiliary in weights else 0,
        },
        "size_px": [512, 512],
        "class_names": _class_names(beside, classes),
    }


def _prompted(weights: Weights) -> Facts:
    """Prompts, and the backbone that goes with them."""
    tokens, passes = (sum(name.startswith(f"prompts.{part}.") for name in weights) for part in ("tokens", "times"))
    count = _shape(weights, "prompts.tokens.0")[0]
    return {
        "backbone": {
            "name": "sd_unet",
            "attention_maps": "",
            "timestep": None,
            "output_head": passes > 1,
            "resize_skips": True,
        },
        "tokens": count,
        "prompts": {
            "count": count,
            "passes": passes,
            "shared": tokens < passes,
            "adapter": any(name.startswith("prompts.adapters.") for name in weights),
        },
    }


READERS: Mapping[str, Callable[[Weights, Sequence[int], Mapping[str, Any], Report], Facts]] = {
    "refer": _refer,
    "seg": _seg,
    "depth": _depth,
    "prompt_depth": _prompt_depth,
    "prompt_seg": _prompt_seg,
}


def _backbone(levels: Sequence[int]) -> Facts:
    if not levels:
        return {"name": "sd_unet", "attention_maps": "", "timestep": 1}
    return {"name": "sd_unet", "attention_maps": PLACES, "map_levels": list(levels), "timestep": 1}


def _maps(inputs: Sequence[int], channels: Sequence[int]) -> tuple[list[int], int]:
    """Levels with maps, as divisors of the latent side, and tokens: from input widths of a head, finest first."""
    extra = [width - plain for width, plain in zip(inputs, channels, strict=True)]
    tokens = {count for count in extra if count}
    if min(extra) < 0 or len(tokens) > 1:
        raise SchemaMismatch(
            f"the head reads {list(inputs)} channels of levels that have {list(channels)}: the difference must be the "
            "same number of map channels on every level that has any. The head belongs to another backbone."
        )
    return [1 << level for level, count in enumerate(extra) if count], max(extra)


def _published_size(beside: Mapping[str, Any], default: int, report: Report) -> int:
    size_px = getattr(beside.get("args"), "img_size", None)
    if isinstance(size_px, int):
        return size_px
    report.notes.append(f"not in the weights, as published: {default} pixel views")
    return default


def _shape(weights: Weights, name: str) -> tuple[int, ...]:
    if name not in weights:
        raise SchemaMismatch(f"no {name} among the weights, from which a size is read: the checkpoint is incomplete.")
    return tuple(weights[name].shape)
