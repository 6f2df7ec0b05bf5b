"""What an import, or a model of ours, becomes on disk.

Owns three ways out: a folder of ours (`vpd.pretrained`), a diffusers folder of everything Stable Diffusion in a
checkpoint, and the fine-tuned UNet alone, completed by the output head that perception does not train.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from shards.errors import ConfigError
from vpd.backbones.sd_folder import expected_shapes, write_part
from vpd.backbones.sd_load import load_unet
from vpd.importing.official import OUT_HEAD, Imported, import_checkpoint
from vpd.importing.report import Report, check_fit
from vpd.importing.text import write_text
from vpd.pretrained import UNET_OUT, is_pretrained, load_weights, save_pretrained

REPORT = "report.json"
UNET = "backbone.unet."

Weights = Mapping[str, torch.Tensor]


def write_model(folder: Path, imported: Imported) -> None:
    """Write an imported perception model: the network, its VAE encoder, and the report.

    Raises:
        ConfigError: the checkpoint is a plain Stable Diffusion model.
    """
    if imported.blueprint is None:
        raise ConfigError(
            f"{imported.report.source} is a plain {imported.layout.title} model: it has no head for a task. "
            "Convert it with to=diffusers and train from it (backbone.model)."
        )
    if imported.vae.weights:
        write_part(folder, "vae", imported.vae.config, imported.vae.weights)
    write_report(folder, imported.report)
    save_pretrained(folder, imported.model(), imported.blueprint, imported.unet_out)


def write_diffusers(folder: Path, imported: Imported, base: str = "") -> list[str]:
    """Write the Stable Diffusion parts of a checkpoint as a diffusers folder; returns the names of the parts.

    Args:
        folder: receives unet/, vae/ and text_encoder/, as far as the checkpoint has them.
        imported: any layout; weights keep their precision.
        base: where to take the UNet's output head from if the checkpoint has none (`output_head`).
    """
    written = [write_unet(folder, imported.unet.weights, imported.unet.config, base, imported.report.source)]
    if imported.vae.weights:
        written.append(write_part(folder, "vae", imported.vae.config, imported.vae.weights))
    if imported.text.weights:
        written.append(write_text(folder, imported.text.config, imported.text.weights))
    write_report(folder, imported.report)
    return [path.name for path in written]


def write_unet(folder: Path, weights: Weights, config: Mapping[str, Any], base: str, source: str) -> Path:
    """Write `<folder>/unet`, with the output head of `base` if `weights` lack it.

    Raises:
        ConfigError: there is no output head, and no base to take it from.
        SchemaMismatch: the base is another architecture.
    """
    if not any(name.startswith(OUT_HEAD) for name in weights):
        if not base:
            raise ConfigError(
                f"{source} has no output head (conv_norm_out, conv_out): it was removed before training. Say where to "
                "take it from: base=<the Stable Diffusion model training started from>."
            )
        weights = {**weights, **output_head(base)}
    check_fit(Report(source, "diffusers UNet"), weights, expected_shapes("unet", config))
    return write_part(folder, "unet", config, weights)


def unet_weights(model_weights: Weights) -> dict[str, torch.Tensor]:
    """The UNet's weights, under diffusers' names, out of those of a `Perception`."""
    return {name.removeprefix(UNET): value for name, value in model_weights.items() if name.startswith(UNET)}


def output_head(base: str) -> dict[str, torch.Tensor]:
    """The UNet's output head out of a model folder of ours, a checkpoint file, a diffusers folder or a hub id.

    Raises:
        ConfigError: nothing readable there, or a model without it.
    """
    if is_pretrained(base):
        found: Weights = load_weights(base, UNET_OUT)
    elif Path(base).is_file():
        found = import_checkpoint(base).unet.weights
    else:
        found = load_unet(base).state_dict()
    head = {name: value for name, value in found.items() if name.startswith(OUT_HEAD)}
    if not head:
        raise ConfigError(f"base={base}: this model has no output head either (conv_norm_out, conv_out).")
    return head


def write_report(folder: Path, report: Report) -> None:
    """Write every key's fate as report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
