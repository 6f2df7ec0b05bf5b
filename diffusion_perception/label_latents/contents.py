"""What a set with label latents is: everything of its source, two or three fields more, and a recipe that says how.

It is a set for itself, so that what trains, evaluates, mixes and publishes sets takes it as any other. Owns the fields,
the recipe, and refusing a source that has no depth or has label latents already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusion_perception.features.of_sets import tars_sha256
from diffusion_perception.label_latents.job import LabelLatentsJob
from diffusion_perception.label_latents.scaling import UNITS
from shards.contract.manifest import Manifest
from shards.contract.schema import Field, Schema
from shards.errors import ConfigError, SchemaMismatch

LATENT, MASK, ENDS = "label_latent", "label_mask", "label_ends"
RECIPE = "label_latents"  # the recipe's key
SETTINGS = {
    "depth": ("space", "quantile", "batch_size"),
    "normals": ("intrinsics", "window_px", "tolerance", "batch_size"),
}


def schema_of(job: LabelLatentsJob, manifest: Manifest) -> Schema:
    """The source's fields, then those of label latents.

    Raises:
        SchemaMismatch: the source has no depth, or no latent per view.
        ConfigError: it holds label latents already.
    """
    source = manifest.schema
    names = {field.name for field in source.fields}
    if missing := {"depth", "latent"} - names:
        raise SchemaMismatch(
            f"{manifest.name} has no field {' and no field '.join(sorted(missing))}; it holds "
            f"{', '.join(field.name for field in source.fields)}. Label latents are made of a set built from a depth "
            "source, which has both."
        )
    if LATENT in names:
        raise ConfigError(f"{manifest.name} holds label latents already; name the set that they were made of.")
    latent = source.field("latent")
    (_, _, height, width), said = latent.shape, f"{job.space}, {job.quantile:g} and {1 - job.quantile:g} quantile"
    what, known = f"{said} as -1 and 1", "was measured"
    if job.label == "normals":
        what, known = "surface normals, x right, y up, z to the viewer, from -1 to 1", "has a normal"
    added = [
        Field(LATENT, "npy", "float16", latent.shape, "view", f"raw VAE posterior mean, unscaled, of {what}"),
        Field(MASK, "npy", "uint8", ("V", height, width), "view", f"1 where every pixel of the cell {known}, else 0"),
    ]
    if job.label == "depth":
        unit = f"what -1 and 1 stand for, {UNITS[job.space]}; 0, 0: no range"
        added.append(Field(ENDS, "npy", "float32", ("V", 2), "view", unit))
    behind = source.fields.index(latent) + 1  # what a stream reads of a view lies together
    return Schema((*source.fields[:behind], *added, *source.fields[behind:]), source.item_axis)


def recipe_of(job: LabelLatentsJob, manifest: Manifest, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """The source's recipe, and what decides the numbers of its label latents.

    Args:
        encoder: fingerprint of what encoded them.
    """
    read = {"set": manifest.name, "fingerprint": manifest.fingerprint, "tars_sha256": tars_sha256(manifest)}
    said = {name: getattr(job, name) for name in SETTINGS[job.label]}
    said |= {"intrinsics": list(job.intrinsics)} if job.intrinsics else {}  # as JSON has it
    return {**manifest.recipe, RECIPE: {"of": read, "label": job.label, **said, "encoder": dict(encoder)}}
