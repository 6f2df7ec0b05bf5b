"""Layouts of published checkpoints, as data: prefixes of the parts, keys to leave, and how to recognise each.

Source: docs/methods/checkpoints.md#prefixes; keys of every layout were checked against checkpoints written by the
published code. Names to the right are ours: `adapter.*`, `head.*` and `class_embeddings` of
`vpd.model.perception.Perception`. Heads carry the published module names, so most entries only exchange a prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shards.errors import SchemaMismatch

SCHEDULE = "buffer of the noise schedule, which a single pass at a fixed time does not use"
EMA = "running average of the UNet; its trained weights are taken (an -emaonly file has the average in their place)"
POSITIONS = "position numbers, computed anew"
ALIAS = "second name of the UNet's output head, with the same values"
MOST_PASSES = 9  # of the UNet that are recognised; published models have up to 3


@dataclass(frozen=True)
class Layout:
    """Where a project keeps its parts.

    Attributes:
        name: for reports.
        title: for people.
        task: our task, empty for a plain Stable Diffusion model.
        marks: prefixes that must all occur; the first layout whose marks do is the file's.
        unet, vae, text: prefixes of the networks that go by LDM's names (text: transformers' names).
        parts: prefix there -> prefix here, for the adapter and the head.
        ignored: prefix -> why its keys are left.
        task_options: options of the task in which this project differs from the defaults.
        facts: which reader of `vpd.exchange.importing.sizes` tells the sizes; empty: the task's.
        aliases: prefix -> prefix of the keys that hold the same values.
    """

    name: str
    title: str
    task: str
    marks: tuple[str, ...]
    unet: str
    vae: str
    text: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    task_options: Mapping[str, Any] = field(default_factory=dict)
    facts: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)


def _of_passes(prefix: str, pattern: str, ours: str) -> dict[str, str]:
    """A part that every pass has: `pattern` holds its number from 1, ours counts from 0."""
    last = "." if pattern.endswith(".") else ""
    return {f"{prefix}{pattern.format(k)}": f"prompts.{ours}.{k - 1}{last}" for k in range(1, MOST_PASSES + 1)}


ADAPTER = {"gamma": "adapter.gamma", "text_adapter.": "adapter.", "class_embeddings": "class_embeddings"}

LAYOUTS = (
    Layout(
        name="stable_diffusion",
        title="original Stable Diffusion v1",
        task="",
        marks=("model.diffusion_model.",),
        unet="model.diffusion_model.",
        vae="first_stage_model.",
        text="cond_stage_model.transformer.",
        ignored={
            "model_ema.": EMA,
            "cond_stage_model.transformer.text_model.embeddings.position_ids": POSITIONS,
            **dict.fromkeys(
                (
                    "betas",
                    "alphas_cumprod",
                    "sqrt_",
                    "log_one_minus_alphas_cumprod",
                    "posterior_",
                    "lvlb_weights",
                    "logvar",
                ),
                SCHEDULE,
            ),
        },
    ),
    Layout(
        name="meta_prompts_depth",
        title="official Meta Prompts, depth",
        task="depth",
        marks=("encoder.unet.unet.diffusion_model.", "encoder.meta_prompts1", "last_layer_depth."),
        unet="encoder.unet.unet.diffusion_model.",
        vae="encoder.encoder_vq.",
        parts={
            **_of_passes("encoder.", "t{}", "times"),
            **_of_passes("encoder.", "meta_prompts{}", "tokens"),
            **_of_passes("encoder.", "text_adapter{}.", "adapters"),
            **{f"encoder.{part}.": f"head.{part}." for part in ("layer1", "layer2", "layer3", "layer4", "out_layer")},
            "decoder.": "head.",
            "last_layer_depth.": "head.last_layer_depth.",
        },
        task_options={"view_fit": "enlarged"},
        facts="prompt_depth",
        aliases=dict.fromkeys(
            (f"encoder.cross_unet_conv{k}." for k in range(2, MOST_PASSES + 1)),
            "encoder.unet.unet.diffusion_model.out.",
        ),
    ),
    Layout(
        name="meta_prompts_seg",
        title="official Meta Prompts, semantic segmentation",
        task="seg",
        marks=("unet.unet.diffusion_model.", "meta_prompts", "upconv1."),
        unet="unet.unet.diffusion_model.",
        vae="encoder_vq.",
        parts={
            **_of_passes("", "t{}", "times"),
            "meta_prompts": "prompts.tokens.0",
            **{f"upconv{level}.": f"head.upconv{level}." for level in range(1, 5)},
            "decode_head.": "head.decode_head.",
            "auxiliary_head.": "head.auxiliary_head.",
        },
        ignored={"sd_model.": SCHEDULE},
        task_options={"lovasz": 1.0},
        facts="prompt_seg",
        aliases=dict.fromkeys(
            (f"cross_unet_conv{k}." for k in range(2, MOST_PASSES + 1)), "unet.unet.diffusion_model.out."
        ),
    ),
    Layout(
        name="vpd_depth",
        title="official VPD, depth",
        task="depth",
        marks=("encoder.unet.unet.diffusion_model.", "last_layer_depth."),
        unet="encoder.unet.unet.diffusion_model.",
        vae="encoder.encoder_vq.",
        parts={
            **{f"encoder.{theirs}": ours for theirs, ours in ADAPTER.items()},
            **{f"encoder.{part}.": f"head.{part}." for part in ("layer1", "layer2", "out_layer")},
            "decoder.": "head.",
            "last_layer_depth.": "head.last_layer_depth.",
        },
    ),
    Layout(
        name="mmseg_depth",
        title="mmsegmentation's VPD, depth",
        task="depth",
        marks=("backbone.unet.unet.diffusion_model.", "decode_head.depth_pred_layer."),
        unet="backbone.unet.unet.diffusion_model.",
        vae="backbone.encoder_vq.",
        parts={
            **{f"backbone.{theirs}": ours for theirs, ours in ADAPTER.items()},
            "decode_head.conv1.": "head.layer1.",
            "decode_head.conv2.": "head.layer2.0.",
            "decode_head.conv_aggregation.": "head.out_layer.",
            "decode_head.decoder.": "head.",
            "decode_head.depth_pred_layer.": "head.last_layer_depth.",
        },
        ignored={"backbone.sd_model.": SCHEDULE},
        task_options={"loss": "per_image"},
    ),
    Layout(
        name="vpd_refer",
        title="official VPD, referring segmentation",
        task="refer",
        marks=("unet.unet.diffusion_model.", "classifier."),
        unet="unet.unet.diffusion_model.",
        vae="encoder_vq.",
        parts={**ADAPTER, "classifier.": "head."},
    ),
    Layout(
        name="vpd_seg",
        title="official VPD, semantic segmentation",
        task="seg",
        marks=("unet.unet.diffusion_model.", "neck.", "decode_head."),
        unet="unet.unet.diffusion_model.",
        vae="encoder_vq.",
        parts={**ADAPTER, "neck.": "head.neck.", "decode_head.": "head.decode_head."},
        ignored={"sd_model.": SCHEDULE},
    ),
)


def recognise(keys: Iterable[str], source: str) -> Layout:
    """The layout of a checkpoint with these keys.

    Raises:
        SchemaMismatch: none of them; the message shows the first keys and what the layouts begin with.
    """
    keys = list(keys)
    for layout in LAYOUTS:
        if all(any(key.startswith(mark) for key in keys) for mark in layout.marks):
            return layout
    known = "\n  ".join(f"{layout.title}: {', '.join(f'{mark}*' for mark in layout.marks)}" for layout in LAYOUTS)
    raise SchemaMismatch(
        f"{source} is none of the checkpoints this project can import. It has {len(keys)} keys, the first are "
        f"{', '.join(keys[:5])}. Expected one of\n  {known}"
    )
