"""One process that makes label latents: the VAE loaded once, shards one by one.

Owns the way of a shard from stored depth to files: depth is cut by each view as labels are, enlarged with it where the
encoder was shown more pixels, scaled (`scaling`) and encoded as three equal channels; normals are made of the whole
picture's depth, cut and mirrored alike, and encoded as they are. Views of several records fill a
batch, no batch reaches over shards, and everything else of a record is copied as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import prod
from typing import Any

import numpy as np

from diffusion_perception import plugins
from diffusion_perception.baking.maker import Kind, Maker
from diffusion_perception.devices import chosen_device
from diffusion_perception.label_latents.contents import ENDS, LATENT, MASK, recipe_of, schema_of
from diffusion_perception.label_latents.job import LabelLatentsJob
from diffusion_perception.label_latents.scaling import Scaled, scaled, whole_cells
from shards.contract.lengths import per_metre
from shards.contract.schema import Record, Schema
from shards.errors import ConfigError, FingerprintMismatch, SchemaMismatch
from shards.geometry.normals import mirrored
from shards.geometry.view import View, cut_label, recorded_views
from shards.reading.reader import StoredRecord
from shards.upkeep.copying import copy_tables

KIND = Kind(
    "labels",
    "label latents of",
    lambda folder, source, recipe: copy_tables(source.folder, folder, source.manifest),
)
READ_AHEAD, COMPUTE_AHEAD = 8, 4  # records


@dataclass(frozen=True)
class Read:
    """A record, and its depth or normals as the VAE is shown them, view by view."""

    stored: StoredRecord
    views: list[Scaled]


class LabelLatentMaker(Maker):
    """Lives as long as the job; the VAE is loaded at first use."""

    def __init__(self, job: LabelLatentsJob) -> None:
        self.job: LabelLatentsJob = job

    @cached_property
    def encoder(self) -> Any:
        """The encoder that made the set's latents.

        Raises:
            ConfigError: the set does not say which, or nothing loads from the model.
            FingerprintMismatch: the model's weights are others.
        """
        job, manifest = self.job, self.source.manifest
        recorded = manifest.recipe.get("image_encoder") or {}
        if not recorded.get("encoder"):
            raise ConfigError(
                f"{manifest.name} does not say which encoder made its latents: rebuild it, or name another."
            )
        setting: dict[str, Any] = {"name": recorded["encoder"], "model": job.model, "dtype": job.dtype}
        setting |= {"revision": job.revision} if job.revision else {}
        made = plugins.build_plugin(plugins.ENCODERS, setting, "model", device=str(chosen_device(job.device)))
        if made.fingerprint.get("weights") != recorded.get("weights"):
            raise FingerprintMismatch(
                f"{manifest.name} holds latents of another encoder (weights {str(recorded.get('weights'))[:12]}) than "
                f"{job.model} has ({str(made.fingerprint.get('weights'))[:12]}): labels and pictures have to be "
                "encoded alike. Name the model that the set was built with."
            )
        return made

    @cached_property
    def recipe(self) -> dict[str, Any]:
        return recipe_of(self.job, self.source.manifest, self.encoder.fingerprint)

    @cached_property
    def schema(self) -> Schema:
        return schema_of(self.job, self.source.manifest)

    def read(self, record: int) -> Read:
        """A record's depth, or the normals of it, in the geometry of its views.

        Raises:
            SchemaMismatch: it has other views than latents, or depth in no known unit.
        """
        from vpd.tasks.depth.labels import metres, stored_depth

        stored = self.source.record(record)
        views, field = recorded_views(stored), self.source.schema.field("depth")
        latents = self.source.sides(self.source.schema.field("latent"), record)
        if len(views) != latents[0]:
            raise SchemaMismatch(f"record {stored.key}: {latents[0]} latents, and meta['views'] has {len(views)}.")
        depth, unit = stored_depth(stored, field), per_metre(field)
        if self.job.label == "normals":
            normals = self.job.normals()(metres(depth, unit), stored.key)  # [H, W, 3]
            return Read(stored, [as_vectors(normals, view) for view in views])
        shown = (metres(as_encoded(depth, view), unit) for view in views)
        return Read(stored, [scaled(depth_m, self.job.space, self.job.quantile) for depth_m in shown])

    def encode(self, views: list[Scaled]) -> list[np.ndarray]:
        """The latents float16 `[C, h, w]` of some views."""
        height, width = views[0].values.shape[-2:]
        pixels = self.encoder.allocate((len(views), 3, height, width))  # [B, 3, H, W]
        for place, view in enumerate(views):
            pixels[place] = view.values
        return list(self.encoder.encode(pixels)["latent"])

    def _records(self, number: int) -> Iterator[Record]:
        """The records of the source's shard `number` with their label latents.

        Raises:
            ConfigError: a latent that float16 cannot hold.
        """
        from vpd.inference.packing import packed, read_ahead

        first = self.source.paged.first_record(number)
        chosen = range(first, first + self.source.manifest.shards[number].records)
        owners = ((found, found.views) for found in read_ahead(chosen, self.read, READ_AHEAD))
        made = packed(owners, self.job.batch_size, self.encode, lambda view: view.values.shape)
        learnable = False
        for found, latents in read_ahead(made, lambda one: one, COMPUTE_AHEAD):
            labels = self._labels(found, np.stack(latents))
            learnable |= bool(labels[MASK].any())
            yield Record(found.stored.key, {**_as_stored(found.stored), **labels})
        if not learnable:
            print(
                f"[{KIND.command}] WARNING: no cell of the {len(chosen)} records of shard {number} is known all over: "
                "a loss of latents learns from no other",
                flush=True,
            )

    def _labels(self, found: Read, latents: np.ndarray) -> dict[str, np.ndarray]:
        """The added fields of a record, from the latents `[V, C, h, w]` of its views."""
        if not np.isfinite(latents).all():
            raise ConfigError(
                f"record {found.stored.key}: a label latent does not fit in float16, or is NaN. Use dtype=float32, or "
                "another VAE: this one cannot encode depth."
            )
        stride_px = found.views[0].measured.shape[0] // latents.shape[-2]
        masks = [whole_cells(view.measured, stride_px) for view in found.views]
        ends = [view.ends for view in found.views]
        labels = {LATENT: latents, MASK: np.stack(masks).astype(np.uint8)}
        return {**labels, ENDS: np.stack(ends)} if self.job.label == "depth" else labels


def as_encoded(depth: np.ndarray, view: View) -> np.ndarray:
    """Stored depth `[H, W]` as a view shows it to the encoder, `[h, w]` of its `size_px`, 0 outside the picture.

    Nearest neighbour throughout, so that no two depths are mixed.
    """
    shown = cut_label(depth, view)
    if view.enlarged_px is None:
        return shown
    height, width = view.content_px
    whole = (0, 0, view.enlarged_px[1], view.enlarged_px[0])
    return cut_label(shown, View(view.enlarged_px, (0, 0, width, height), view.enlarged_px, whole))


def as_vectors(normals: np.ndarray, view: View) -> Scaled:
    """Normals `[H, W, 3]`, zero where not known, as a view shows them: `[3, h, w]`, mirrored where it is.

    Nearest neighbour, so that vectors keep their length.
    """
    shown = np.stack([as_encoded(channel, view) for channel in np.moveaxis(normals, 2, 0)])
    values = mirrored(shown) if view.flip else shown
    return Scaled(values, np.zeros(2, np.float32), np.asarray(shown.any(axis=0)))


def forecast(maker: LabelLatentMaker) -> list[str]:
    """What the set would take, in words: fields, bytes, and the time of a batch, tried on the first views."""
    source, schema, job = maker.source, maker.schema, maker.job
    views = source.manifest.counts["view"]
    lines = [f"{views} views of {source.n_records} records in {len(source.manifest.shards)} shards"]
    added = 0
    names = {field.name for field in source.schema.fields}
    for name in (field.name for field in schema.fields if field.name not in names):
        field = schema.field(name)
        shape = [int(side) for side in field.row_shape]
        added += (size := np.dtype(field.dtype).itemsize * prod(shape) * views)
        lines.append(f"{name}: {field.dtype} {shape} a view, {size / 1e9:.3g} GB")
    copied = sum(shard.tar_bytes for shard in source.manifest.shards)
    lines.append(f"{(added + copied) / 1e9:.3g} GB in all: {added / 1e9:.3g} GB and the set itself, which is copied")
    read = (maker.read(number) for number in range(source.n_records))
    batch = list(islice((view for found in read for view in found.views), job.batch_size))
    maker.encode(batch[:1])  # loaded and warm
    started_s = time.perf_counter()
    latents = maker.encode(batch)
    took_s = time.perf_counter() - started_s
    lines.append(f"about {took_s / len(batch) * views / 3600:.3g} h of this device, by {len(batch)} view(s) tried here")
    stride_px = batch[0].measured.shape[0] // latents[0].shape[-2]
    shares = [whole_cells(view.measured, stride_px).mean() for view in batch]
    lines.append(f"{np.mean(shares):.1%} of these views' cells are measured throughout, and are learned from")
    return lines


def _as_stored(record: StoredRecord) -> dict[str, Any]:
    """Every field of a record, as a writer takes it."""
    schema = record.shards.schema
    values: dict[str, Any] = {}
    for field in schema.fields:
        value = record.array(field.name) if field.codec == "npy" else schema.unpack(field, record.payload(field.name))
        values[field.name] = value
    return values
