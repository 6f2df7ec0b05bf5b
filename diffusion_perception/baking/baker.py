"""One process that bakes: the model loaded once, shards one by one.

Owns the way of a shard from latents to files: records are read ahead by threads, views of several records fill a batch,
and while one shard's bytes are hashed and written the network goes on. Batches never reach over shards, so a shard has
the same bytes whoever bakes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception.baking import pca
from diffusion_perception.baking.contents import field_names, identity_of, meta_of, recipe_of, schema_of
from diffusion_perception.baking.forms import pooled, stored_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.baking.maker import Kind, Maker
from diffusion_perception.features.of_sets import check_same_vae, seen_in
from shards.contract.schema import META, Record, Schema
from shards.errors import ConfigError
from shards.reading.reader import StoredRecord
from shards.storage.storage import open_folder

if TYPE_CHECKING:
    import torch

    from diffusion_perception.features.reading import Features

READ_AHEAD, COMPUTE_AHEAD = 8, 4  # records


def kind_of(job: BakeJob) -> Kind:
    """Of features: a set that has its components as a table, where it has components."""
    return Kind("features", "features of", lambda folder, source, recipe: pca.tables_of(job, folder, recipe))


class Baker(Maker):
    """Lives as long as the job; the model is loaded at first use.

    Args:
        source: what identifies the set, where that is not there (any more) and only the recipe is asked for.
    """

    def __init__(self, job: BakeJob, source: Mapping[str, Any] | None = None) -> None:
        self.job: BakeJob = job
        self._identity = source

    @cached_property
    def features(self) -> Features:
        from diffusion_perception.features.reading import Features

        job = self.job
        if self._identity is None:
            check_same_vae(job.model, job.revision, [self.source])
        return Features.from_pretrained(job.model, revision=job.revision or None, device=job.device, dtype=job.dtype)

    @cached_property
    def components(self) -> pca.Components | None:
        """Those that are stored in place of channels, if any are."""
        if not self.job.pca:
            return None
        folder = open_folder(self.job.out, storage_options=self.job.storage)
        return pca.components_of(self.job, folder, self._base_recipe, self._fitted)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        if self.components is None:
            return self._base_recipe
        return {**self._base_recipe, pca.SAID: self.components.said()}

    @cached_property
    def _base_recipe(self) -> dict[str, Any]:
        """Without components."""
        from diffusion_perception.features.latents import noise_shares
        from vpd.features.models import weights_sha256

        job, features = self.job, self.features
        shift, scale = features.shift_and_scale(job.latent_scale)
        model: dict[str, Any] = {"weights": weights_sha256(features.pipeline)}
        model |= {"latent_shift": shift, "latent_scale": scale}
        if job.noise != "none":
            model["noise_shares"] = list(noise_shares(features.family, job.timestep))
        return recipe_of(job, self._identity or identity_of(self.source.manifest), model)

    @cached_property
    def schema(self) -> Schema:
        """Found by one pass over the first view."""
        found = self._maps([self.source.record(0).array("latent")[0]])
        shapes = {layer: (self.job.pca or maps.shape[1], *maps.shape[2:]) for layer, maps in found.items()}
        return schema_of(self.job, shapes)

    def try_views(self, latents: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """Every layer's features `[N, C, h, w]` of some latents `[C, h, w]`."""
        return self._maps(latents)

    def _records(self, number: int) -> Iterator[Record]:
        """The features of the source's shard `number`.

        Raises:
            ConfigError: a feature that the form cannot hold.
        """
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

    def _maps(self, latents: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """Every layer's features `[N, C, h, w]` of some latents, averaged over cells as the job says.

        Raises:
            ConfigError: a layer with fewer channels than components.
        """
        import torch

        job = self.job
        seen = seen_in(job, self.features, job.timestep, job.prompt, torch.from_numpy(np.stack(latents)))
        for layer, features in seen.items():
            if job.pca > features.values.shape[1]:
                raise ConfigError(
                    f"pca is {job.pca}, layer {layer} has {features.values.shape[1]} channels: ask for fewer "
                    "components, or bake that layer by itself, as it is."
                )
        return {layer: pooled(job, features.values) for layer, features in seen.items()}

    def _fitted(self) -> pca.Components:
        """Components of the set, by one pass over some of its records."""
        job, names = self.job, field_names(self.job)
        chosen = pca.chosen_records(self.source, job.pca_records)
        print(f"[features] fitting {job.pca} components a layer on {len(chosen)} records", flush=True)
        latents = (view for number in chosen for view in self.source.record(number).array("latent"))
        maps = (self._maps(batch) for batch in iter(lambda: list(islice(latents, job.batch_size)), []))
        named = ({names[layer]: values for layer, values in found.items()} for found in maps)
        return pca.fitted(self.source, job.pca, job.pca_records, named)

    def _computed(self, latents: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """What is stored of every layer, by field, for each of some latents `[C, h, w]`."""
        job, found, names = self.job, dict[str, np.ndarray](), field_names(self.job)
        for layer, values in self._maps(latents).items():
            kept = values if self.components is None else self.components.of(names[layer], values)
            found |= stored_of(job, layer, names[layer], kept)
        return [{name: values[place] for name, values in found.items()} for place in range(len(latents))]
