"""A checkpoint of another project to weights, configs and blueprint of ours.

Owns the way from a file to its parts: recognise the layout, rename every key, read the sizes, and check that exactly
the expected weights are there. Nothing is written here; `vpd.exchange.importing.folders` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from shards.errors import SchemaMismatch
from vpd.backbones.sd_unet.facts import COMPANIONS
from vpd.backbones.sd_unet.folder import expected_shapes
from vpd.backbones.sd_unet.keys import layers_per_block, unet_key, vae_key
from vpd.backbones.sd_unet.sizes import HEADS, unet_config, vae_config
from vpd.exchange.importing.files import CheckpointFile, read_checkpoint
from vpd.exchange.importing.layouts import ALIAS, Layout, recognise
from vpd.exchange.importing.sizes import facts_of
from vpd.exchange.importing.text import text_config, text_shapes
from vpd.exchange.pretrained import Blueprint, with_weights
from vpd.exchange.report import Report, check_fit, refuse
from vpd.model.perception import Perception

LEFT_OUT = {  # parts of the UNet that a perception model may do without
    "conv_norm_out.": "the UNet's output head",
    "conv_out.": "the UNet's output head",
    "time_embedding.": "the UNet's time MLP, whose output is learned instead",
}
NO_DECODER = "the VAE's decoder, deleted before training; latents need the encoder only"

UNET = "backbone.unet."

Weights = dict[str, torch.Tensor]
Assemble = Callable[[Blueprint], Perception]


@dataclass
class Part:
    """A network that diffusers or transformers knows: weights under their names, and config."""

    weights: Weights = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Imported:
    """Everything a checkpoint held.

    Attributes:
        layout: which project's.
        unet, vae, text: parts of Stable Diffusion; without weights if the file has none.
        weights: of the whole `Perception`, for layouts that have a task.
        blueprint: of that network.
        report: every key.
        assemble: as given to `import_checkpoint`.
    """

    layout: Layout
    unet: Part
    vae: Part
    text: Part
    report: Report
    assemble: Assemble | None = None
    weights: Weights = field(default_factory=dict)
    blueprint: Blueprint | None = None

    @property
    def unet_rest(self) -> Weights:
        """What the UNet has and the perception model does not use."""
        used = {name.removeprefix(UNET) for name in self.weights}
        return {name: value for name, value in self.unet.weights.items() if name not in used}

    def model(self) -> Any:
        """The network with its weights, in eval mode on the CPU."""
        if self.blueprint is None or self.assemble is None:
            raise SchemaMismatch(f"{self.report.source} is a {self.layout.title} model, without a head for a task.")
        return with_weights(self.assemble(self.blueprint), self.weights)


def import_checkpoint(
    path: str | Path,
    assemble: Assemble | None = None,
    *,
    allow_namespace: bool = False,
    changes: Mapping[str, Any] | None = None,
    heads: int = 0,
) -> Imported:
    """Read and map a checkpoint file.

    Args:
        path: .ckpt, .pth or .safetensors.
        assemble: a blueprint's network on the meta device (`diffusion_perception.blueprints.assembled`): which parts a
            blueprint names is not known here. None: only Stable Diffusion's own parts are mapped.
        allow_namespace: see `read_checkpoint`.
        changes: settings of the blueprint that the weights cannot tell, e.g. `{"task": {"max_depth_m": 80.0}}`; they
            are laid over what was read or assumed.
        heads: of the UNet's attention layers, which no weight tells; 0: as in every Stable Diffusion 1 model, and the
            report says that it was assumed.

    Raises:
        ConfigError: the file cannot be read safely, or `changes` do not fit.
        SchemaMismatch: it is none of the known layouts, or its keys are not exactly those of its layout.
    """
    file = read_checkpoint(path, allow_namespace=allow_namespace)
    layout = recognise(file.weights, str(path))
    report = Report(str(path), layout.name)
    imported = Imported(layout, Part(), Part(), Part(), report, assemble)
    named = _rename(file, layout, report)
    _complete_unet(imported, named["unet"], heads)
    _complete_vae(imported, named["vae"])
    _complete_text(imported, named["text"])
    if layout.task and assemble is not None:
        _complete_model(imported, assemble, named["model"], file, changes or {})
    return imported


def _rename(file: CheckpointFile, layout: Layout, report: Report) -> dict[str, Weights]:
    """Every weight under our name, by part; fills the report and refuses names that no rule knows."""
    prefixes = [p for p in (layout.unet, layout.vae, layout.text) if p]
    inside = {prefix: [k.removeprefix(prefix) for k in file.weights if k.startswith(prefix)] for prefix in prefixes}
    depth = layers_per_block(inside[layout.unet])
    downs = [key.split(".")[2] for key in inside[layout.vae] if key.startswith("encoder.down.")]
    levels = 1 + max((int(level) for level in downs if level.isdigit()), default=-1)
    named: dict[str, Weights] = {"unet": {}, "vae": {}, "text": {}, "model": {}}
    unknown = []
    for key, value in file.weights.items():
        reason = next((why for prefix, why in layout.ignored.items() if key.startswith(prefix)), None)
        reason = reason or _alias(key, file, layout)
        if reason:
            report.left[key] = reason
            continue
        try:
            part, name = _ours(key, layout, depth, levels)
        except SchemaMismatch:
            unknown.append(key)
            continue
        if part == "vae" and ".attentions." in name and value.ndim == 4:
            value = value[:, :, 0, 0]  # 1x1 convolutions there, linear layers here
        named[part][name] = value
        report.mapped[key] = f"{part}.{name}" if part != "model" else name
    refuse(report, {"unexpected": unknown})
    return named


def _alias(key: str, file: CheckpointFile, layout: Layout) -> str | None:
    """Why a key may be left that holds what another does; SchemaMismatch if it does not."""
    prefix = next((prefix for prefix in layout.aliases if key.startswith(prefix)), None)
    if prefix is None:
        return None
    other = layout.aliases[prefix] + key.removeprefix(prefix)
    if other not in file.weights or not torch.equal(file.weights[key], file.weights[other]):
        raise SchemaMismatch(
            f"{file.path}: {key} should hold the same values as {other}, and does not. In {layout.title} the two are "
            "one layer under two names."
        )
    return ALIAS


def _ours(key: str, layout: Layout, depth: int, levels: int) -> tuple[str, str]:
    if key.startswith(layout.unet):
        return "unet", unet_key(key.removeprefix(layout.unet), depth)
    if key.startswith(layout.vae):
        return "vae", vae_key(key.removeprefix(layout.vae), levels)
    if layout.text and key.startswith(layout.text):
        return "text", key.removeprefix(layout.text)
    for theirs, ours in layout.parts.items():
        if key == theirs or (theirs.endswith(".") and key.startswith(theirs)):
            return "model", ours + key.removeprefix(theirs)
    raise SchemaMismatch(key)


def _complete_unet(imported: Imported, weights: Weights, heads: int) -> None:
    imported.unet = Part(weights, unet_config(weights, heads or HEADS))
    if not heads:
        imported.report.notes.append(
            f"{HEADS} attention heads assumed, as in every Stable Diffusion 1; heads=N says others"
        )
    lacking = LEFT_OUT if imported.layout.task else {}
    may_miss = {f"unet.{prefix}": f"{what}, deleted before training" for prefix, what in lacking.items()}
    _check_part(imported.report, "unet", imported.unet, expected_shapes("unet", imported.unet.config), may_miss)


def _complete_vae(imported: Imported, weights: Weights) -> None:
    if not weights:
        imported.report.notes.append("no VAE in this file")
        return
    imported.vae = Part(weights, vae_config(weights))
    optional = ["vae.decoder.", "vae.post_quant_conv."] if imported.layout.task else []
    may_miss = dict.fromkeys(optional, NO_DECODER)
    _check_part(imported.report, "vae", imported.vae, expected_shapes("vae", imported.vae.config), may_miss)


def _complete_text(imported: Imported, weights: Weights) -> None:
    if weights:
        imported.text = Part(weights, text_config(weights))
        _check_part(imported.report, "text", imported.text, text_shapes(imported.text.config), {})
    elif imported.layout.text:
        imported.report.notes.append("no text encoder in this file")


def _check_part(report: Report, name: str, part: Part, shapes: Mapping[str, Any], may_miss: Mapping[str, str]) -> None:
    found = {f"{name}.{key}": value for key, value in part.weights.items()}
    check_fit(report, found, {f"{name}.{key}": shape for key, shape in shapes.items()}, may_miss)


def _complete_model(
    imported: Imported, assemble: Assemble, weights: Weights, file: CheckpointFile, changes: Mapping[str, Any]
) -> None:
    """Blueprint and weights of the whole network."""
    layout, unet, report = imported.layout, imported.unet, imported.report
    facts = facts_of(layout.facts or layout.task, weights, unet.config["block_out_channels"], file.beside, report)
    own_vae = {"image": {"name": COMPANIONS.image, "model": "./vae"}} if imported.vae.weights else {}
    facts["encoders"] = facts.get("encoders", {}) | own_vae
    facts["task"] = {"name": layout.task, **facts.get("task", {}), **layout.task_options}
    blueprint = Blueprint(
        **facts,
        unet=dict(unet.config),
        origin={"file": file.path.name, "layout": layout.name, "notes": list(report.notes)},
    )
    for name, value in changes.items():
        before = getattr(blueprint, name)
        blueprint = replace(blueprint, **{name: {**before, **value} if isinstance(before, Mapping) else value})
    expected = {name: value.shape for name, value in assemble(blueprint).state_dict().items()}
    unused = {
        name: what
        for name in unet.weights
        for prefix, what in LEFT_OUT.items()
        if name.startswith(prefix) and UNET + name not in expected
    }
    imported.weights = weights | {UNET + name: value for name, value in unet.weights.items() if name not in unused}
    imported.blueprint = blueprint
    for key, ours in list(report.mapped.items()):
        part, _, name = ours.partition(".")
        if part == "unet" and name in unused:
            report.left[key] = f"{unused[name]}; this model does not use it (kept in unet_rest.safetensors)"
            del report.mapped[key]
        elif part == "unet":
            report.mapped[key] = f"backbone.{ours}"
    check_fit(report, imported.weights, expected)
