"""Principal components in place of channels: fitted once on some records of the set, kept, and never fitted again.

Owns the sample, the arrays (a table of the baked set: for every field `[N + 1, C]`, the mean and then a component a
row) and where they lie while the set is baked. How components are found is `vpd.features.components`'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from diffusion_perception.baking.contents import field_names
from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import MANIFEST_NAME, Manifest, TableEntry, recipe_difference
from shards.contract.tables import read_table, write_table
from shards.errors import ConfigError, FingerprintMismatch
from shards.storage.storage import Folder, open_folder
from shards.upkeep.making import PLAN
from shards.writing.writer import BUILD_FOLDER

if TYPE_CHECKING:
    import torch

    from diffusion_perception.baking.job import BakeJob
    from shards.reading.reader import ShardSet

TABLE = "pca"
SAID = "components"  # the recipe's key
# Of a recipe's features: what two bakes with the same components may say differently.
OWN = ("batch_size", "error", "layers", "pca_records", "seed", "store")


@dataclass(frozen=True)
class Components:
    """Arrays by field, and what they were fitted on; no arrays where a finished set has none."""

    arrays: Mapping[str, np.ndarray]
    info: Mapping[str, Any]

    def said(self) -> dict[str, Any]:
        """For the recipe: what they were fitted on, and a hash of their bytes."""
        return {**self.info, "basis_sha256": hashlib.sha256(_payload(self.arrays)).hexdigest()}

    def of(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """Maps `[B, C, h, w]` of a field as components, float32 `[B, N, h, w]`."""
        import torch

        wide = (values.cpu() if values.device.type == "mps" else values).double()  # whose last bits float32 forgets
        mean, *rows = torch.from_numpy(self.arrays[name]).to(wide)
        return torch.einsum("bchw,nc->bnhw", wide - mean[:, None, None], torch.stack(rows)).float()


def spread(components: Any, table: np.ndarray) -> np.ndarray:
    """Channels `[..., C, h, w]` of stored components `[..., N, h, w]`, as near as these come, from the field's array in
    the set's table `pca`."""
    mean, basis = table[0], table[1:]
    return np.einsum("...nhw,nc->...chw", np.asarray(components, np.float32), basis) + mean[:, None, None]


def chosen_records(source: ShardSet, number: int) -> list[int]:
    """So many records of a set, evenly over it."""
    number = min(number, source.n_records)
    return [place * source.n_records // number for place in range(number)]


def fitted(source: ShardSet, components: int, records: int, maps: Iterable[Mapping[str, torch.Tensor]]) -> Components:
    """Components of maps `[B, C, h, w]` by field, those of the chosen records in their order.

    Raises:
        ConfigError: numbers of a map are not finite.
    """
    from vpd.features.components import Moments

    moments: dict[str, Moments] = {}
    for found in maps:
        for name, values in found.items():
            moments.setdefault(name, Moments(values.shape[1])).add(values)
    arrays: dict[str, np.ndarray] = {}
    shares: dict[str, float] = {}
    for name, moment in moments.items():
        if not moment.is_finite:
            raise ConfigError(
                f"field {name}: some features are NaN or infinite, and have no components. Use dtype=float32, or bake "
                "another layer."
            )
        mean, directions, share = moment.components(components)
        arrays[name] = np.concatenate([mean[None].numpy(), directions.T.numpy()]).astype(np.float32)
        shares[name] = round(share, 6)
    on = {"records": len(chosen_records(source, records)), "set": source.manifest.name}
    return Components(arrays, {"components": components, **on, "explained": shares})


def components_of(job: BakeJob, folder: Folder, recipe: Mapping[str, Any], fit: Callable[[], Components]) -> Components:
    """The components of a bake: those of another set that it names, else its own, fitted where it has none yet.

    Args:
        folder: of the bake.
        recipe: of the bake, without them.
    """
    return _taken(job, recipe) if job.pca_from else _kept(folder, recipe, fit)


def tables_of(job: BakeJob, folder: Folder, recipe: Mapping[str, Any]) -> list[TableEntry]:
    """The tables of a bake whose shards are finished, written.

    Raises:
        ConfigError: the components that the shards were made with are gone.
    """
    if not job.pca:
        return []

    def gone() -> Components:
        raise ConfigError(f"{folder}: the components of its shards are gone. Remove the folder and bake again.")

    rest = {name: value for name, value in recipe.items() if name != SAID}
    found = components_of(job, folder, rest, gone)
    if found.said() != recipe[SAID]:
        gone()
    return [write_table(folder, TABLE, found.arrays, found.info)]


def _taken(job: BakeJob, recipe: Mapping[str, Any]) -> Components:
    """Those of another baked set, of the job's layers.

    Raises:
        ConfigError: it has no components, another number of them, or none of a layer.
        FingerprintMismatch: its features are of another model, timestep or prompt, or differ in what else makes them.
    """
    names = field_names(job)
    folder = open_folder(job.pca_from, storage_options=job.storage if "://" in job.pca_from else None)
    manifest = Manifest.load(folder)
    found = of_set(folder, manifest)
    if found is None or found.info["components"] != job.pca:
        has = "channels" if found is None else f"{found.info['components']} components"
        raise ConfigError(f"pca_from: {manifest.name} has {has}, pca is {job.pca}; name a set baked with as many.")
    if missing := [layer for layer, name in names.items() if name not in found.arrays]:
        raise ConfigError(
            f"pca_from: {manifest.name} has no components of {', '.join(missing)}, only of the fields "
            f"{', '.join(found.arrays)}; bake those."
        )
    there, here = (
        {key: value for key, value in (one.get("features") or {}).items() if key not in OWN}
        for one in (manifest.recipe, recipe)
    )
    if lines := recipe_difference(parse_json(canonical_json(here), "recipe"), there, manifest.name):
        raise FingerprintMismatch(
            f"pca_from: the components of {manifest.name} are of other features than these:\n  "
            + "\n  ".join(lines)
            + "\nBake both alike, or fit components here (without pca_from)."
        )
    arrays = {name: found.arrays[name] for name in names.values()}
    shares = {name: found.info["explained"][name] for name in names.values()}
    return Components(arrays, {**found.info, "explained": shares})


def _kept(folder: Folder, recipe: Mapping[str, Any], fit: Callable[[], Components]) -> Components:
    """Those of a folder, finished or not, named by the recipe; else fitted, and kept there.

    Raises:
        ConfigError: another bake was begun there.
    """
    if folder.exists(MANIFEST_NAME):
        return of_set(folder, Manifest.load(folder)) or Components({}, {})
    name = f"{BUILD_FOLDER}/{TABLE}-{hashlib.sha256(canonical_json(dict(recipe))).hexdigest()[:16]}"
    if (known := _read(folder, name)) is not None:
        return known
    if folder.exists(PLAN) or folder.names("*.tar"):  # shards would be there only behind their components
        raise ConfigError(f"{folder} holds shards of something else; give another place. Nothing was changed.")
    found = fit()
    if (theirs := _read(folder, name)) is not None:  # of another driver, who may have shards by them already
        return theirs
    folder.check_writable()
    folder.write(f"{name}.json", canonical_json(dict(found.info)))
    folder.write(f"{name}.safetensors", _payload(found.arrays))  # the last: with it both are there
    return found


def _read(folder: Folder, name: str) -> Components | None:
    """Those that an unfinished set keeps, if there are any."""
    if not folder.exists(f"{name}.safetensors"):
        return None
    arrays = safetensors.numpy.load(folder.read(f"{name}.safetensors"))
    return Components(arrays, parse_json(folder.read(f"{name}.json"), name))


def of_set(folder: Folder, manifest: Manifest) -> Components | None:
    """Those of a baked set; None where it has channels."""
    for table in manifest.tables:
        if table.name == TABLE:
            return Components(*read_table(folder, table))
    return None


def _payload(arrays: Mapping[str, np.ndarray]) -> bytes:
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
