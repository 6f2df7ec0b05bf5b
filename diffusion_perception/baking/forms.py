"""How a layer's features are stored: averaged over cells, as components or as they are, in floats or in 8 bits.

Owns the fields of a layer, their numbers, and the way back (`restored`). In 8 bits every channel of a view has a scale
of its own. In int8 it is a 127th of the largest value, and a number is off by half of that at most; in float8_e4m3fn,
whose bytes are stored as uint8 since NumPy has no such type, a 448th, and a number is off by a 16th of itself or, near
zero, a 1024th of the scale at most. The recipe says so.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.contract.schema import Field
from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from diffusion_perception.baking.job import BakeJob

AXIS = "view"  # of latents, and so of features
SCALE = "_scale"  # behind the name of an int8 field: that of its scales
LARGEST = {"float16": 65504.0, "float32": 3.4e38, "int8": 3.4e38, "float8_e4m3fn": 3.4e38}
# Of the forms in 8 bits: the largest number, which a channel's largest value becomes; the type of the field; the error
STEPS = {"int8": 127, "float8_e4m3fn": 448}
TYPES = {"int8": "int8", "float8_e4m3fn": "uint8"}
ERRORS = {
    "int8": "half of a channel's scale in a view at most: a 254th of its largest value",
    "float8_e4m3fn": "a 16th of a number at most, or a 1024th of a channel's scale in a view near zero",
}


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
    worth = f"{unit}; times {scale.name}" if job.store == "int8" else f"{unit}; bits of {job.store}, times {scale.name}"
    return [Field(name, "npy", TYPES[job.store], ("V", *shape), AXIS, worth), scale]


def pooled(job: BakeJob, values: torch.Tensor) -> torch.Tensor:
    """Features `[N, C, h, w]` averaged over cells, as a job says. Cells are equal parts of the map also where `pool`
    does not divide its sides, so that whoever lays them over the picture finds them in their places."""
    import torch
    import torch.nn.functional as F

    h, w = values.shape[2:]
    if job.pool == 1:
        return values
    if h % job.pool == 0 and w % job.pool == 0:
        return F.avg_pool2d(values, job.pool)
    rows, columns = (_shares(side, -(-side // job.pool), values) for side in (h, w))
    return torch.einsum("nchw,ih,jw->ncij", values, rows, columns)


def _shares(side: int, cells: int, like: torch.Tensor) -> torch.Tensor:
    """How much of each of `side` rows lies in each of some equal parts of them: `[cells, side]`, which add to 1."""
    import torch

    edges = torch.arange(cells + 1, dtype=torch.float64) * side / cells
    first = torch.arange(side, dtype=torch.float64)
    inside = torch.minimum(edges[1:, None], first + 1) - torch.maximum(edges[:-1, None], first)
    return (inside.clamp_min(0) * cells / side).to(like)


def stored_of(job: BakeJob, layer: str, name: str, values: torch.Tensor, store: str = "") -> dict[str, np.ndarray]:
    """What is kept of a layer, float32 `[N, C, h, w]`, as arrays `[N, ...]` by field.

    Args:
        store: another form than the job's.

    Raises:
        ConfigError: numbers that the form cannot hold.
    """
    import torch

    store = store or job.store
    largest = values.abs().amax(dim=(2, 3))  # [N, C]
    limit = LARGEST[store]
    if not largest.amax() <= limit:  # NaN, too
        raise ConfigError(
            f"layer {layer!r} gives numbers up to {largest.amax():g}, more than {store} holds ({limit:g}): bake "
            "another layer, or a module inside it behind a normalisation."
        )
    if store not in ERRORS:
        return {name: values.to(getattr(torch, store)).cpu().numpy()}
    most = STEPS[store]
    scale = largest / most
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # of nothing but 0, or of less than float32 divides
    steps = (values / scale[..., None, None]).clamp(-most, most)  # [N, C, h, w]
    bits = steps.round().to(torch.int8) if store == "int8" else steps.cpu().to(torch.float8_e4m3fn).view(torch.uint8)
    return {name: bits.cpu().numpy(), name + SCALE: scale.cpu().numpy()}


def error_of(job: BakeJob, values: torch.Tensor, store: str) -> float:
    """Root mean square of what a form in 8 bits does to features `[N, C, h, w]`, as a share of that of the features."""
    import torch

    held = stored_of(job, "", "", values, store)
    found = torch.from_numpy(restored(held[""], held[SCALE])) - values.cpu()
    return float(found.square().mean().sqrt() / values.square().mean().sqrt().clamp_min(1e-30))


def restored(steps: Any, scale: Any) -> Any:
    """Features `[..., C, h, w]` of a field in 8 bits and its scales `[..., C]`, both arrays or both tensors."""
    if str(steps.dtype).endswith("uint8"):
        table = float8_values()
        steps = table[steps] if isinstance(steps, np.ndarray) else scale.new_tensor(table)[steps.long()]
    return steps * scale[..., None, None]


@cache
def float8_values() -> np.ndarray:
    """What every byte of float8_e4m3fn stands for, float32 [256]: a sign, 4 bits of an exponent whose bias is 7, 3 of a
    mantissa; all ones is NaN, and there is no infinity (Micikevicius et al., FP8 Formats for Deep Learning, 2022)."""
    byte = np.arange(256)
    sign, exponent, mantissa = np.where(byte < 128, 1.0, -1.0), byte >> 3 & 15, byte & 7
    size = np.where(exponent > 0, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
    return np.where(byte & 127 == 127, np.nan, sign * size).astype(np.float32)
