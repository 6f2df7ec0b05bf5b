"""How a layer's features are stored: averaged over cells, as components or as they are, in floats or int8 with a scale.

Owns the fields of a layer, their numbers, and the way back (`restored`). In int8 every channel of a view has a scale
of its own, a 127th of its largest value: a number is off by half of that at most, which the recipe says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shards.contract.schema import Field
from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from diffusion_perception.baking.job import BakeJob

AXIS = "view"  # of latents, and so of features
SCALE = "_scale"  # behind the name of an int8 field: that of its scales
STEPS = 127  # of int8, on each side of 0
LARGEST = {"float16": 65504.0, "float32": 3.4e38, "int8": 3.4e38}
ERRORS = {"int8": "half of a channel's scale in a view at most: a 254th of its largest value"}


def fields_of(job: BakeJob, layer: str, name: str, shape: tuple[int, ...]) -> list[Field]:
    """The fields of a layer whose stored features are `[C, h, w]`."""
    unit = f"{layer}: features, timestep {job.timestep:g}"
    if job.pool > 1:
        unit += f", means of {job.pool} x {job.pool}"
    if job.pca:
        unit += f", {job.pca} principal components"
    if job.store not in ERRORS:
        return [Field(name, "npy", job.store, ("V", *shape), AXIS, unit)]
    scale = Field(name + SCALE, "npy", "float32", ("V", shape[0]), AXIS, f"{layer}: what a step of {name} is worth")
    return [Field(name, "npy", "int8", ("V", *shape), AXIS, f"{unit}; times {scale.name}"), scale]


def pooled(job: BakeJob, values: torch.Tensor) -> torch.Tensor:
    """Features `[N, C, h, w]` averaged over cells, as a job says; a cell at the edge is the mean of what there is."""
    import torch.nn.functional as F

    return F.avg_pool2d(values, job.pool, ceil_mode=True, count_include_pad=False) if job.pool > 1 else values


def stored_of(job: BakeJob, layer: str, name: str, values: torch.Tensor) -> dict[str, np.ndarray]:
    """What is kept of a layer, float32 `[N, C, h, w]`, as arrays `[N, ...]` by field.

    Raises:
        ConfigError: numbers that the form cannot hold.
    """
    import torch

    largest = values.abs().amax(dim=(2, 3))  # [N, C]
    limit = LARGEST[job.store]
    if not largest.amax() <= limit:  # NaN, too
        raise ConfigError(
            f"layer {layer!r} gives numbers up to {largest.amax():g}, more than {job.store} holds ({limit:g}): bake "
            "another layer, or a module inside it behind a normalisation."
        )
    if job.store not in ERRORS:
        return {name: values.to(getattr(torch, job.store)).cpu().numpy()}
    scale = torch.where(largest > 0, largest / STEPS, torch.ones_like(largest))
    steps = (values / scale[..., None, None]).round().clamp(-STEPS, STEPS)  # [N, C, h, w]
    return {name: steps.to(torch.int8).cpu().numpy(), name + SCALE: scale.cpu().numpy()}


def restored(steps: Any, scale: Any) -> Any:
    """Features `[..., C, h, w]` of an int8 field and its scales `[..., C]`, arrays or tensors."""
    return steps * scale[..., None, None]
