"""Features of a trial from a baked set in place of the model: which bake may stand beside which rows, and its numbers.

Owns the checks, that a bake is of the set whose labels are learned, with everything that the sweep asks of features,
and the join by key. What a baked set is, is `diffusion_perception.baking`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception.baking.contents import field_of
from diffusion_perception.baking.forms import SCALE, restored
from diffusion_perception.features.of_sets import tars_sha256
from shards.errors import ConfigError, FingerprintMismatch, did_you_mean
from shards.geometry.view import View

if TYPE_CHECKING:
    import torch

    from diffusion_perception.features.seen import Seen
    from diffusion_perception.probing.job import ProbeJob
    from shards.reading.reader import ShardSet

ALIKE = ("noise", "ensemble", "dtype")  # settings that a bake and a sweep share
# Of a recipe's features: what two bakes of one trial may say differently.
OWN = ("batch_size", "layers", "pca_records")


@dataclass(frozen=True)
class BakedViews:
    """Gives the features of views of a set from its bake.

    Attributes:
        source: the set with the labels.
        shards: its bake.
        fields: of every layer that is asked for.
    """

    source: ShardSet
    shards: ShardSet
    fields: Mapping[str, str]
    device: torch.device

    def seen(self, latents: torch.Tensor, places: Sequence[tuple[int, int]]) -> Seen:
        """Of views whose latents `[B, C, h, w]` are of (record, row) each.

        Raises:
            FingerprintMismatch: a record has another key in the bake than in the set.
        """
        import torch

        from diffusion_perception.features.seen import FeatureMap, Seen

        for record in {record for record, _ in places}:
            key, other = self.source.paged.key(record), self.shards.paged.key(record)
            if key != other:
                raise FingerprintMismatch(
                    f"record {record} is {key} in {self.source.manifest.name} and {other} in its bake "
                    f"{self.shards.manifest.name}: bake the set again."
                )
        view = View.from_json(self.source.record(places[0][0]).meta["views"][places[0][1]])
        height, width = view.size_px
        maps: dict[str, FeatureMap] = {}
        for layer, name in self.fields.items():
            rows = np.stack([self._view(name, *place) for place in places])  # [B, C, h, w]
            stride_px = height / rows.shape[-2], width / rows.shape[-1]
            maps[layer] = FeatureMap(torch.from_numpy(rows).to(self.device), stride_px)
        return Seen(maps, latents.to(self.device))

    def _view(self, name: str, record: int, row: int) -> np.ndarray:
        """float32 `[C, h, w]`."""
        stored = self.shards.record(record)
        values = stored.array(name, row, 1)[0]
        if name + SCALE in self._names:
            return restored(values, stored.array(name + SCALE, row, 1)[0])
        return values.astype(np.float32)

    @property
    def _names(self) -> set[str]:
        return {field.name for field in self.shards.schema.fields}


def check(job: ProbeJob, name: str, sources: Sequence[ShardSet], bakes: Sequence[ShardSet]) -> tuple[float, str]:
    """The timestep and prompt of a bake of both sets, train and test.

    Raises:
        FingerprintMismatch: one was baked from another set, or the two do not go together.
        ConfigError: it lacks a layer, or has other features than the sweep asks for.
    """
    said: list[dict[str, Any]] = []
    for source, bake in zip(sources, bakes, strict=True):
        of, features = bake.manifest.recipe.get("source") or {}, bake.manifest.recipe.get("features")
        if not isinstance(features, Mapping):
            raise ConfigError(f"baked.{name}: {bake.manifest.name} is no set of features; make one by `features`.")
        manifest = source.manifest
        if (of.get("fingerprint"), of.get("tars_sha256")) != (manifest.fingerprint, tars_sha256(manifest)):
            raise FingerprintMismatch(
                f"baked.{name}: {bake.manifest.name} was baked from {of.get('set')} "
                f"({str(of.get('fingerprint'))[:12]}), not from this {manifest.name} ({manifest.fingerprint[:12]}). "
                "Bake this set, or name the set that was baked."
            )
        for layer in job.layers:
            if layer not in features["layers"]:
                raise ConfigError(
                    f"baked.{name}: {bake.manifest.name} lacks layer {layer!r}; it has {', '.join(features['layers'])}."
                    f"{did_you_mean(layer, features['layers'])} Ask for those, or bake it."
                )
        _check_asked(job, f"baked.{name}: {bake.manifest.name}", features)
        rest = {key: value for key, value in features.items() if key not in OWN}
        said.append(rest | {"components": (bake.manifest.recipe.get("components") or {}).get("basis_sha256")})
    if said[0] != said[1]:
        differing = sorted(key for key in {*said[0], *said[1]} if said[0].get(key) != said[1].get(key))
        raise FingerprintMismatch(
            f"baked.{name}: {bakes[0].manifest.name} and {bakes[1].manifest.name} differ in {', '.join(differing)}, so "
            "that what is learned on one means nothing on the other. Bake both alike (components: pca_from)."
        )
    return float(said[0]["timestep"]), str(said[0]["prompt"])


def _check_asked(job: ProbeJob, where: str, features: Mapping[str, Any]) -> None:
    """ConfigError unless a bake has the features that the sweep asks for."""
    wanted: dict[str, tuple[Any, ...]] = {"timestep": job.timesteps, "prompt": job.prompts}
    wanted |= {setting: (getattr(job, setting),) for setting in ALIKE}
    if job.noise != "none":
        wanted["seed"] = (job.seed,)
    if job.latent_scale is not None:
        wanted["latent_scale"] = (job.latent_scale,)
    for setting, asked in wanted.items():
        if features[setting] not in asked:
            raise ConfigError(
                f"{where} has {setting} {features[setting]!r}, asked for is {' or '.join(map(repr, asked))}. Ask for "
                "what was baked, or bake what is asked for."
            )


def check_same_model(job: ProbeJob, bakes: Mapping[str, ShardSet]) -> None:
    """Make sure that bakes, by name, are of the job's model.

    Raises:
        FingerprintMismatch: one is of other weights, or of latents that were scaled otherwise.
    """
    from diffusion_perception.features.reading import Features
    from vpd.features.models import weights_sha256

    features = Features.from_pretrained(job.model, revision=job.revision or None, device="cpu", dtype=job.dtype)
    here = (weights_sha256(features.pipeline), *features.shift_and_scale(job.latent_scale))
    for name, bake in bakes.items():
        said = bake.manifest.recipe["features"]
        if here != (said["weights"], said["latent_shift"], said["latent_scale"]):
            raise FingerprintMismatch(
                f"baked.{name}: {bake.manifest.name} holds features of another model (weights {said['weights'][:12]}, "
                f"latent_scale {said['latent_scale']:g}) than {job.model} ({here[0][:12]}, {here[2]:g}). Name the "
                "model that it was baked with, or none, with live=false."
            )


def views_of(job: ProbeJob, source: ShardSet, bake: ShardSet, device: torch.device) -> BakedViews:
    """Of a set and its bake."""
    return BakedViews(source, bake, {layer: field_of(layer) for layer in job.layers}, device)
