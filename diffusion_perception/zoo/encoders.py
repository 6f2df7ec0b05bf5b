"""The frozen encoders of a published model: copied into its folder, or named by a hub id that every machine can fetch.

Owns which parts of a model belong to which encoder. Copies are safetensors whatever they were, with the very values: a
set's recipe names them by their digest, and a published encoder is held against it.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file, save_file

from diffusion_perception.assembly.companions import Kind, build_encoder, check_same_weights
from shards.errors import ConfigError
from shards.models.forms import CONFIG, FORMS
from shards.models.hub import is_hub_id
from shards.models.parts import ModelPart, find_part
from vpd.exchange.pretrained import encoder_options, inside

if TYPE_CHECKING:
    from diffusion_perception.zoo.job import PublishJob
    from diffusion_perception.zoo.sources import Source
    from vpd.exchange.pretrained import Blueprint

PARTS: Mapping[str, tuple[str, ...]] = {
    "sd_vae": ("vae",),
    "clip_text": ("text_encoder", "tokenizer"),
    "sdxl_text": ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    "pixart_text": ("text_encoder", "tokenizer"),
    "vit": ("vit",),
    "flux_text": ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
}


def place_encoders(source: Source, job: PublishJob, folder: Path) -> Blueprint:
    """Bring the encoders to where `job` says; the blueprint that finds them there.

    Raises:
        ConfigError: one is not at hand, or is named by a folder of this machine.
        FingerprintMismatch: one is not the encoder that the training set was built with.
    """
    blueprint, placed, image = source.blueprint, {}, dict[str, Any]()
    for kind in blueprint.encoders:
        options = encoder_options(source.home, blueprint, kind)
        if job.base and kind != "vision":  # of no diffusion model
            options = {**options, "model": job.base, "revision": None}
        name = str(options.get("name"))
        image = options if kind == "image" else image
        if job.encoders == "named":
            _check_named(f"{kind} encoder", str(options.get("model", "")))
            checked = options
        elif name in PARTS:
            for part in PARTS[name]:
                copy_part(find_part(name, str(options["model"]), part, options.get("revision")), folder / part)
            checked = {**options, "model": str(folder), "revision": None}
            options = {**options, "model": "./", "revision": None}
        else:
            raise ConfigError(
                f"encoders=inside: which files belong to the encoder {name!r} is not known here. Put its model on a "
                "hub and publish with encoders=named."
            )
        expected = (source.recipe or {}).get(f"{kind}_encoder")
        if expected:
            encoder = build_encoder(checked, cast(Kind, kind), torch.device("cpu"))
            check_same_weights(encoder.fingerprint, expected, f"{kind} encoder")
        placed[kind] = {key: value for key, value in options.items() if value is not None}
    return replace(blueprint, encoders=placed, head=_head_placed(source, job, image))


def _head_placed(source: Source, job: PublishJob, image: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a head that decodes with a VAE (`label_latent`), which is the image encoder's own where that is
    copied; other heads as they are."""
    head = dict(inside(source.home, source.blueprint.head))
    if not head.get("model"):
        return head
    if job.base:
        head |= {"model": job.base, "revision": None}
    model, revision = str(head["model"]), head.get("revision")
    if job.encoders == "named":
        _check_named("head's VAE", model)
    elif _same_files(
        find_part("head", model, "vae", revision), find_part("head", str(image["model"]), "vae", image.get("revision"))
    ):
        head |= {"model": "./", "revision": None}
    elif not is_hub_id(model) or Path(os.path.expanduser(model)).exists():
        raise ConfigError(
            f"encoders=inside: the head decodes with the VAE of {json.dumps(model)}, which is not the image encoder's "
            f"({json.dumps(str(image['model']))}). Label latents and pictures are encoded by one: name it in both."
        )
    return {name: value for name, value in head.items() if value is not None}


def _same_files(one: ModelPart, other: ModelPart) -> bool:
    pairs = zip(one.weights, other.weights, strict=False)
    return len(one.weights) == len(other.weights) and all(filecmp.cmp(a, b, shallow=False) for a, b in pairs)


def copy_part(part: ModelPart, folder: Path) -> None:
    """A part of a model into a folder of its own: what describes it as it is, its weights as one safetensors file."""
    folder.mkdir(parents=True)
    form = FORMS[part.kind]
    for name in dict.fromkeys((CONFIG, form.says, *form.also)):
        if (part.folder / name).is_file():
            shutil.copyfile(part.folder / name, folder / name)
    if form.stems is None:
        return
    target = folder / f"{form.stems[0]}.safetensors"
    if len(part.weights) == 1 and part.weights[0].suffix == ".safetensors":
        shutil.copyfile(part.weights[0], target)
        return
    tensors: dict[str, torch.Tensor] = {}
    for file in part.weights:
        tensors |= load_file(file) if file.suffix == ".safetensors" else _of_pickle(part, file)
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, target, {"format": "pt"})


def _of_pickle(part: ModelPart, file: Path) -> dict[str, Any]:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch answers odd files with errors of many kinds
        raise part.unusable(f"{type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise part.unusable(f"{file.name} holds no tensors by name")
    return found


def _check_named(what: str, model: str) -> None:
    if not is_hub_id(model) or Path(os.path.expanduser(model)).exists():
        raise ConfigError(
            f"encoders=named: the {what} is {json.dumps(model)}, a place that other machines do not have. Name "
            "a hub id, base=owner/name, or copy it: encoders=inside."
        )
