"""What an import, or a model of ours, becomes on disk.

Owns three ways out: a folder of ours (`vpd.exchange.pretrained`), a diffusers folder of everything Stable Diffusion in
a checkpoint, and the fine-tuned UNet alone, completed by the parts that perception does not use.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from shards.errors import ConfigError
from vpd.backbones.sd_unet.folder import expected_shapes, write_part
from vpd.backbones.sd_unet.load import load_unet
from vpd.exchange.importing.official import LEFT_OUT, UNET, Imported, import_checkpoint
from vpd.exchange.importing.text import write_text
from vpd.exchange.pretrained import UNET_REST, is_pretrained, load_weights, save_pretrained
from vpd.exchange.report import Report, check_fit

REPORT = "report.json"

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
    save_pretrained(folder, imported.model(), imported.blueprint, imported.unet_rest)


def write_diffusers(folder: Path, imported: Imported, base: str = "") -> list[str]:
    """Write the Stable Diffusion parts of a checkpoint as a diffusers folder; returns the names of the parts.

    Args:
        folder: receives unet/, vae/ and text_encoder/, as far as the checkpoint has them.
        imported: any layout; weights keep their precision.
        base: where to take what the checkpoint's UNet lacks from (`unet_rest`).
    """
    written = [write_unet(folder, imported.unet.weights, imported.unet.config, base, imported.report.source)]
    if imported.vae.weights:
        written.append(write_part(folder, "vae", imported.vae.config, imported.vae.weights))
    if imported.text.weights:
        written.append(write_text(folder, imported.text.config, imported.text.weights))
    write_report(folder, imported.report)
    return [path.name for path in written]


def write_unet(folder: Path, weights: Weights, config: Mapping[str, Any], base: str, source: str) -> Path:
    """Write `<folder>/unet`, completed from `base` where perception did without a part.

    Raises:
        ConfigError: a part is missing, and there is no base to take it from.
        SchemaMismatch: the base is another architecture.
    """
    lacking = [prefix for prefix in LEFT_OUT if not any(name.startswith(prefix) for name in weights)]
    if lacking:
        if not base:
            raise ConfigError(
                f"{source} lacks {', '.join(lacking)}* of its UNet: removed before training. Say where to take that "
                "from: base=<the Stable Diffusion model training started from>."
            )
        weights = {**weights, **unet_rest(base, lacking)}
    check_fit(Report(source, "diffusers UNet"), weights, expected_shapes("unet", config))
    return write_part(folder, "unet", config, weights)


def unet_weights(model_weights: Weights) -> dict[str, torch.Tensor]:
    """The UNet's weights, under diffusers' names, out of those of a `Perception`."""
    return {name.removeprefix(UNET): value for name, value in model_weights.items() if name.startswith(UNET)}


def unet_rest(base: str, prefixes: Sequence[str]) -> dict[str, torch.Tensor]:
    """Parts of a UNet, by prefix, out of a model folder of ours, a checkpoint file, a diffusers folder or a hub id.

    Raises:
        ConfigError: nothing readable there, or a model without one of the parts.
    """
    base = str(Path(os.path.expanduser(base)))
    if is_pretrained(base):
        found: Weights = unet_weights(load_weights(base))
        if (Path(base) / UNET_REST).is_file():
            found = {**found, **load_weights(base, UNET_REST)}
    elif Path(base).is_file():
        found = import_checkpoint(base).unet.weights
    else:
        found = load_unet(base).state_dict()
    if absent := [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in found)]:
        raise ConfigError(f"base={base}: this model lacks {', '.join(absent)}* of its UNet, too; give another base.")
    return {name: value for name, value in found.items() if name.startswith(tuple(prefixes))}


def write_report(folder: Path, report: Report) -> None:
    """Write every key's fate as report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
