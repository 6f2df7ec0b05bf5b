"""The network of a training run: the backbone that is named, its conditioning, and a head that fits the task.

Imports torch only inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diffusion_perception import plugins
from shards.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from diffusion_perception.train_job import TrainJob
    from shards.contract.schema import Schema
    from vpd.backbones import Backbone, FeatureSpec
    from vpd.model.perception import Perception
    from vpd.tasks import Task

HEAD = "model.head"  # the setting


def build_model(job: TrainJob, task: Task, schema: Schema, classes: np.ndarray | None = None) -> Perception:
    """Backbone, conditioning and head, with the pretrained UNet loaded.

    The number of context tokens (and so of attention-map channels) is that of the learned prompts, or is read from the
    set, never assumed.

    Args:
        classes: rows of the class table, float32 [C, D] or [C, T, D], for a task that uses one.
    """
    import torch

    torch.manual_seed(job.loop.seed)
    backbone = plugins.build_plugin(plugins.BACKBONES, job.backbone, "backbone")
    table = None if classes is None else torch.from_numpy(classes)
    return build_around(backbone, job, task, context_tokens(job, task, schema), table, said_width(job, schema))


def build_around(
    backbone: Backbone, job: TrainJob, task: Task, tokens: int, table: torch.Tensor | None, said: int = 0
) -> Perception:
    """The network around a backbone, on the device that torch makes tensors on.

    Args:
        tokens: of the context.
        table: class embeddings [C, D] or [C, T, D], for a task that uses them.
        said: numbers that the set's `vision` encoder says of a view, for a run that reads them.

    Raises:
        ConfigError: settings, backbone, task and table do not fit each other.
    """
    from vpd.model.perception import Perception

    head = build_head(task, backbone.spec(tokens), None if table is None else len(table), **job.model.head)
    return Perception.conditioned(
        backbone,
        head,
        job.model.prompts,
        gamma_init=job.model.gamma_init,
        latent_scale=job.model.latent_scale,
        latent_shift=job.model.latent_shift,
        class_embeddings=table,
        tokens=tokens,
        vision=job.model.vision,
        said=said,
    )


def build_head(task: Task, spec: FeatureSpec, rows: int | None = None, **options: Any) -> nn.Module:
    """The head a task takes, or the one that `options` name.

    Args:
        rows: of the class table, if the context comes from one.
        options: `model.head`: a name (of `vpd.heads`) and options of the head.

    Raises:
        ConfigError: no such head, an option it does not take, or one that does not fit the task or the backbone.
    """
    return plugins.build_plugin(plugins.HEADS, head_spec(task, options), HEAD, spec, **task.head_options(rows))


def head_spec(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """The plug-in setting of a head: what `options` say, and the task's choices for what they leave open."""
    chosen = {"name": task.head, **options}
    takes = plugins.option_parameters(plugins.find(plugins.HEADS, chosen, HEAD).build)
    known = {parameter.name for parameter in takes}
    return {**{key: value for key, value in task.head_defaults().items() if key in known}, **chosen}


def context_tokens(job: TrainJob, task: Task, schema: Schema) -> int:
    """Tokens of the context: the learned prompts, one of the picture, or those of the set's text.

    Raises:
        ConfigError: learned prompts, or a token of the picture, for a task whose context is a sentence.
    """
    if job.model.vision.classes:
        if task.uses_text:
            raise ConfigError(
                f"model.vision.classes is {job.model.vision.classes}, but task {task.name} finds what a sentence says: "
                "a token of the picture takes the place of text. Use depth or seg."
            )
        return 1
    if not job.model.prompts.count:
        return task.tokens(schema)
    if task.uses_text:
        raise ConfigError(
            f"model.prompts.count is {job.model.prompts.count}, but task {task.name} finds what a sentence says: "
            "learned prompts take the place of text. Use depth, seg or pose."
        )
    return job.model.prompts.count


def said_width(job: TrainJob, schema: Schema) -> int:
    """Numbers of what the set's `vision` encoder says of a view; 0 for a run that does not read them."""
    from vpd.model.device_batch import VISION

    return int(schema.field(VISION).shape[-1]) if job.model.vision.classes else 0
