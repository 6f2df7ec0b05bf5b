"""A whole model in one folder: what it holds, how it is written, and what is read back from it.

Owns the folder's form, for models trained here and imported ones alike:

    config.json             the blueprint: task, UNet config, sizes, conventions, encoders, origin
    model.safetensors       every weight of the network, by its name here
    unet_rest.safetensors   parts of the UNet that perception does not use (output head, time MLP); kept so that the
                            UNet can go back to diffusers complete (optional)
    vae/, text_encoder/     encoders that came with a checkpoint, as diffusers folders (optional)
    digests.json            sha256 of every other file (`vpd.exchange.digests`), of published models

Networks are assembled elsewhere, from the blueprint on the meta device, and their weights put in place here: nothing is
initialised first. Importing other projects' files is `vpd.exchange.importing`'s; resuming training is
`vpd.training.resume`'s.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from shards.errors import ConfigError, SchemaMismatch
from vpd.exchange.digests import check_digests
from vpd.exchange.report import Report, check_fit
from vpd.model.perception import Perception

CONFIG, MODEL, UNET_REST = "config.json", "model.safetensors", "unet_rest.safetensors"
FORMAT = 1
ADDED = {
    "prompts",
    "predict_views",
    "precision",
    "latent_shift",
    "vision",
}  # settings of the blueprint that folders written before they existed lack
Plugin = Mapping[str, Any]


@dataclass(frozen=True)
class Blueprint:
    """What to build around the weights. Everything is plain data, so that a config.json can be read by eye.

    Attributes:
        task: `name` and options of the task.
        backbone: `name` and options of the backbone, without the model it came from.
        unet: the UNet's diffusers config.
        tokens: context tokens of a sample.
        head: options of the task's head.
        class_table: shape of the class embeddings, or None.
        latent_scale, latent_shift: of the raw latents, as of a run's `model`.
        size_px: (h, w) of the views the model is made for.
        encoders: `image`, `text` and `vision`: `name` and options of the frozen encoders; a model that begins with "./"
            lies in the folder itself.
        class_names: one per row of the class table, if known.
        prompts: settings of learned prompts (`vpd.model.settings.PromptConfig`); empty for text.
        origin: where the weights came from.
        predict_views: view plan that cuts a picture for a prediction, by name and options; empty: as the task says.
        precision: of predictions, as a run's `loop.precision`.
        vision: settings of a token of the picture (`vpd.model.settings.VisionConfig`), and the numbers it is made of,
            `said`; empty for none.
    """

    task: Plugin
    backbone: Plugin
    unet: Mapping[str, Any]
    tokens: int
    head: Mapping[str, Any] = field(default_factory=dict)
    class_table: Sequence[int] | None = None
    latent_scale: float = 1.0
    size_px: Sequence[int] = (512, 512)
    encoders: Mapping[str, Plugin] = field(default_factory=dict)
    class_names: Sequence[str] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, Any] = field(default_factory=dict)
    predict_views: Plugin = field(default_factory=dict)
    precision: str = "auto"
    latent_shift: float = 0.0
    vision: Mapping[str, Any] = field(default_factory=dict)


def with_weights(model: Perception, weights: Mapping[str, torch.Tensor]) -> Perception:
    """Put weights in place of an assembled model's, in float32; the model in eval mode on the CPU.

    The names must be exactly the model's (`check_fit` says what is wrong when they are not).
    """
    # A copy: weights read from a file may be mapped memory, which training would write to.
    full = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    model.load_state_dict({name: value.clone() for name, value in full.items()}, strict=True, assign=True)
    return model.eval()


def save_pretrained(
    folder: str | Path,
    model: torch.nn.Module,
    blueprint: Blueprint,
    unet_rest: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a model as a folder; arguments as of `write_folder`."""
    write_folder(folder, model.state_dict(), blueprint, unet_rest)


def write_folder(
    folder: str | Path,
    weights: Mapping[str, torch.Tensor],
    blueprint: Blueprint,
    unet_rest: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a model as a folder; config.json is written last.

    Args:
        folder: created if need be; files of the same names are replaced.
        weights: every weight of the network.
        blueprint: what it was built from.
        unet_rest: what the UNet has beyond the network, if it is at hand.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, folder / MODEL)
    if unet_rest:
        save_file({name: value.contiguous() for name, value in unet_rest.items()}, folder / UNET_REST)
    text = json.dumps({"format": FORMAT, **dataclasses.asdict(blueprint)}, indent=1) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def read_blueprint(folder: str | Path) -> Blueprint:
    """The blueprint of a folder.

    Raises:
        ConfigError: no config.json of ours there.
    """
    path = Path(folder) / CONFIG
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no readable {CONFIG} of a saved model ({error}).") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds a {type(data).__name__}; expected the mapping that a saved model has.")
    known = [f.name for f in dataclasses.fields(Blueprint)]
    if data.pop("format", None) != FORMAT or not set(known) - ADDED <= set(data) <= set(known):
        raise ConfigError(
            f"{path}: not a model saved by this version: expected format {FORMAT} with {', '.join(known)}; found "
            f"{', '.join(data)}. Original checkpoints and diffusers folders go through jobs/convert_checkpoint.py."
        )
    return Blueprint(**data)


def is_pretrained(folder: str | Path) -> bool:
    """Whether a folder holds a model saved by `save_pretrained`."""
    return all(os.path.isfile(Path(folder) / name) for name in (CONFIG, MODEL))  # False, too, of what can be no path


def load_weights(folder: str | Path, file: str = MODEL) -> dict[str, torch.Tensor]:
    """The tensors of one file of a folder.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    try:
        return load_file(Path(folder) / file)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{Path(folder) / file}: cannot be read ({error}); write it again.") from error


def initialise(model: Perception, folder: str | Path) -> None:
    """Start a model from a saved one: all weights of the same names and shapes are copied into it.

    Raises:
        SchemaMismatch: the two are not the same network; the message names the first keys.
        CorruptCheckpoint: a published model whose files are not those that were published.
    """
    check_start(model, folder)
    check_digests(folder)
    model.load_state_dict(load_weights(folder))


def check_start(model: Perception, folder: str | Path) -> None:
    """What `initialise` refuses, from the names and shapes alone; the model may be on the meta device."""
    path = Path(folder) / MODEL
    try:
        with safe_open(path, "pt") as file:
            names: list[str] = file.keys()
            shapes = {name: file.get_slice(name).get_shape() for name in names}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"model.init={folder}: {path} cannot be read ({error}); expected a model folder.") from error
    found = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    expected = {name: value.shape for name, value in model.state_dict().items()}
    check_fit(Report(str(path), "of the configured model"), found, expected)


def encoder_options(folder: str | Path, blueprint: Blueprint, which: str) -> dict[str, Any]:
    """Plug-in options of an encoder, with a model inside the folder made absolute.

    Raises:
        SchemaMismatch: the blueprint names no such encoder.
    """
    if which not in blueprint.encoders:
        raise SchemaMismatch(
            f"{folder}: names no {which} encoder, only {list(blueprint.encoders)}. Add one to {CONFIG}, under "
            f'"encoders": {{"{which}": {{"name": ..., "model": ...}}}}.'
        )
    return inside(folder, blueprint.encoders[which])


def inside(folder: str | Path, options: Plugin) -> dict[str, Any]:
    """Options whose model is a place on this machine, where they say one inside the folder."""
    model = str(options.get("model", ""))
    return {**options, **({"model": str(Path(folder) / model)} if model.startswith("./") else {})}
