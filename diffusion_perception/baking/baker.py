"""One process that bakes: the model loaded once, shards one by one.

Owns the way of a shard from latents to files: records are read ahead by threads, views of several records fill a batch,
and while one shard's bytes are hashed and written the network goes on. Batches never reach over shards, so a shard has
the same bytes whoever bakes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception.baking.contents import field_names, meta_of, recipe_of, schema_of
from diffusion_perception.baking.forms import stored_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.features.of_sets import check_same_vae, seen_in
from shards.contract.entries import ShardEntry
from shards.contract.manifest import recipe_difference
from shards.contract.schema import META, Record, Schema
from shards.errors import FingerprintMismatch
from shards.reading.reader import ShardSet, StoredRecord
from shards.storage.cache import CacheConfig
from shards.storage.storage import open_folder
from shards.writing.writer import write_shard

if TYPE_CHECKING:
    from diffusion_perception.features.reading import Features

READ_AHEAD, COMPUTE_AHEAD = 8, 4  # records


def open_source(job: BakeJob) -> ShardSet:
    """The set that is baked."""
    cache = CacheConfig(job.cache_dir, max_bytes=int(job.cache_gb * 1e9)) if "://" in job.set else None
    return ShardSet.open(job.set, cache=cache, storage_options=job.storage)


class Baker:
    """Lives as long as the job; the model is loaded at first use."""

    def __init__(self, job: BakeJob) -> None:
        self.job = job

    @cached_property
    def source(self) -> ShardSet:
        return open_source(self.job)

    @cached_property
    def features(self) -> Features:
        from diffusion_perception.features.reading import Features

        job = self.job
        check_same_vae(job.model, job.revision, [self.source])
        return Features.from_pretrained(job.model, revision=job.revision or None, device=job.device, dtype=job.dtype)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        from diffusion_perception.features.latents import noise_shares
        from vpd.features.models import weights_sha256

        job, features = self.job, self.features
        shift, scale = features.shift_and_scale(job.latent_scale)
        model: dict[str, Any] = {"weights": weights_sha256(features.pipeline)}
        model |= {"latent_shift": shift, "latent_scale": scale}
        if job.noise != "none":
            model["noise_shares"] = list(noise_shares(features.family, job.timestep))
        return recipe_of(job, self.source, model)

    @cached_property
    def schema(self) -> Schema:
        """Found by one pass over the first view."""
        found, names = self._computed([self.source.record(0).array("latent")[0]])[0], field_names(self.job)
        return schema_of(self.job, {layer: found[names[layer]].shape for layer in self.job.layers})

    def described(self) -> tuple[dict[str, Any], Any]:
        """(recipe, schema as JSON) of what it would make."""
        return self.recipe, self.schema.to_json()

    def check(self, recipe: dict[str, Any]) -> None:
        """FingerprintMismatch, with the differences, unless it would make what a driver asks for."""
        if lines := recipe_difference(self.recipe, recipe, "what the driver asks for"):
            raise FingerprintMismatch(
                "a worker would bake something else than its driver:\n  " + "\n  ".join(lines) + "\n"
                "Give every node the same model and set. It has written nothing."
            )

    def try_views(self, latents: list[np.ndarray]) -> None:
        """Compute the features of some latents `[C, h, w]`, and keep nothing."""
        self._computed(latents)

    def bake(self, number: int, name: str) -> dict[str, Any]:
        """Write the shard of the source's shard `number`; its entry as JSON.

        Raises:
            ConfigError: a feature that the form cannot hold.
        """
        folder = open_folder(self.job.out, storage_options=self.job.storage)
        entry: ShardEntry = write_shard(folder, name, self.schema, self._records(number))
        return entry.to_json()

    def _records(self, number: int) -> Iterator[Record]:
        from vpd.inference.packing import packed, read_ahead

        def read(record: int) -> tuple[StoredRecord, np.ndarray]:
            stored = self.source.record(record)
            return stored, stored.array("latent")  # [V, C, h, w]

        first = self.source.paged.first_record(number)
        chosen = range(first, first + self.source.manifest.shards[number].records)
        computed = packed(read_ahead(chosen, read, READ_AHEAD), self.job.batch_size, self._computed)
        for stored, views in read_ahead(computed, lambda found: found, COMPUTE_AHEAD):
            values: dict[str, Any] = {name: np.stack([view[name] for view in views]) for name in views[0]}
            yield Record(stored.key, values | {META: meta_of(stored, len(views))})

    def _computed(self, latents: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """What is stored of every layer, by field, for each of some latents `[C, h, w]`."""
        import torch

        job = self.job
        seen = seen_in(job, self.features, job.timestep, job.prompt, torch.from_numpy(np.stack(latents)))
        found: dict[str, np.ndarray] = {}
        names = field_names(job)
        for layer, features in seen.items():
            found |= stored_of(job, layer, names[layer], features.values)
        return [{name: values[place] for name, values in found.items()} for place in range(len(latents))]
