"""Diffusion transformers as a backbone: the plug-in `diffusion_transformer`, of Stable Diffusion 3, PixArt-Sigma and
FLUX.1. Its libraries are imported when one is built.

network     the pass, its taps and what is left out       pyramid   levels from maps of one stride
passes      how each family is called, one module each    load      weights from a folder or hub id, checked
facts       what its config says without the weights

No published perception recipe reads these networks: taps, pyramid and the missing attention maps are this project's
choice (docs/methods/families.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shards.models.libraries import undisturbed
from vpd.backbones import Backbone, BackboneFacts
from vpd.backbones.diffusion_transformer.facts import read_facts


def build(
    model: str,
    revision: str | None = None,
    *,
    taps: Sequence[int] = (),
    timestep: float = 1,
    attention_maps: str = "",
    gradient_checkpointing: bool = False,
) -> Backbone:
    """Load the transformer of a model, in float32.

    Args:
        model: hub id, a local diffusers folder (with `transformer/`), or a folder that is the transformer itself.
        revision: branch, tag or commit of a hub model.
        taps: four blocks, counted from 0, whose tokens become the levels; empty: those that end each quarter.
        timestep: diffusion time of the pass, from 0, clean, to 1000.
        attention_maps: none can be kept; leave it empty.
        gradient_checkpointing: recompute each block in backward: less memory, more work.

    Raises:
        ConfigError: the model cannot be loaded completely, or a setting does not fit it.
    """
    with undisturbed():
        from vpd.backbones.diffusion_transformer.load import load_transformer
        from vpd.backbones.diffusion_transformer.network import DiffusionTransformer

    return DiffusionTransformer(
        load_transformer(model, revision),
        taps=taps,
        timestep=timestep,
        attention_maps=attention_maps,
        gradient_checkpointing=gradient_checkpointing,
    )


def describe(model: str, revision: str | None = None, **other: Any) -> BackboneFacts:
    """What the transformer's config says; other options of `build` change nothing here.

    Raises:
        ConfigError: no transformer there, or one of another family.
    """
    return read_facts(model, revision)


def read_config(model: str, revision: str | None = None) -> dict[str, Any]:
    """The transformer's diffusers config, for `from_config`.

    Raises:
        ConfigError: no transformer there.
    """
    with undisturbed():
        from vpd.backbones.diffusion_transformer.load import transformer_config

    return transformer_config(model, revision)


def from_config(config: Mapping[str, Any], **options: Any) -> Backbone:
    """Random weights: `config` as in a diffusers `transformer/config.json`, options as of `DiffusionTransformer`."""
    with undisturbed():
        from vpd.backbones.diffusion_transformer.network import DiffusionTransformer

    return DiffusionTransformer.from_config(config, **options)
