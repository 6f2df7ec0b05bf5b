"""From a blueprint to the network it describes, and whole models from their folders.

Owns the joint between a saved model's `config.json` (`vpd.exchange.pretrained`) and the plug-ins it names.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from diffusion_perception import plugins
from diffusion_perception.assembly.network import build_head
from vpd.exchange.digests import check_digests
from vpd.exchange.pretrained import MODEL, Blueprint, inside, load_weights, read_blueprint, with_weights
from vpd.exchange.report import Report, check_fit
from vpd.model.perception import Perception
from vpd.model.settings import PromptConfig, VisionConfig
from vpd.tasks import Task


def task_of(blueprint: Blueprint) -> Task:
    """The task object of a blueprint.

    Raises:
        ConfigError: an unknown task, or options it does not take.
    """
    return plugins.build_plugin(plugins.TASKS, blueprint.task, "task")


def assembled(blueprint: Blueprint) -> Perception:
    """The network of a blueprint on the meta device: every name and shape, no weights.

    Raises:
        ConfigError: an unknown task or backbone, or settings that do not fit each other.
    """
    options = {key: value for key, value in blueprint.backbone.items() if key != "name"}
    with torch.device("meta"):
        from_config = plugins.function(plugins.BACKBONES, blueprint.backbone, "backbone", "from_config")
        backbone = from_config(blueprint.unet, **options)
        table = torch.empty(tuple(blueprint.class_table)) if blueprint.class_table else None
        rows = None if table is None else len(table)
        head = build_head(task_of(blueprint), backbone.spec(blueprint.tokens), rows, **blueprint.head)
        return Perception.conditioned(
            backbone,
            head,
            PromptConfig(**blueprint.prompts),
            latent_scale=blueprint.latent_scale,
            latent_shift=blueprint.latent_shift,
            class_embeddings=table,
            tokens=blueprint.tokens,
            vision=VisionConfig(**{name: value for name, value in blueprint.vision.items() if name != "said"}),
            said=blueprint.vision.get("said", 0),
        )


def from_pretrained(folder: str | Path) -> tuple[Perception, Blueprint]:
    """The model of a folder, in float32, eval mode, on the CPU, and its blueprint.

    Raises:
        ConfigError: not such a folder, or a file of it cannot be read.
        CorruptCheckpoint: a published model whose files are not those that were published.
        SchemaMismatch: the weights are not those of the blueprint; the message names the first keys.
    """
    folder = Path(folder)
    check_digests(folder)
    blueprint = read_blueprint(folder)
    weights, model = load_weights(folder), assembled(replace(blueprint, head=inside(folder, blueprint.head)))
    expected = {name: value.shape for name, value in model.state_dict().items()}
    check_fit(Report(str(folder / MODEL), "of its config.json"), weights, expected)
    return with_weights(model, weights), blueprint
