"""Baking pictures that are no set yet: their latents are built in passing, by the build's own way, and not kept.

Owns which build that is (`build_job`: source `pictures`, no captions, the model's VAE), where its set lies while the
bake goes on, below the folder of the baked one, and what can be said without it: that the baked set is finished, and
what it would take. So a bake of pictures gives the bytes that a build and a bake of its set give.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusion_perception.baking.bake import Sizes, forecast
from diffusion_perception.baking.baker import Baker
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.building.assignment import Assignment, Described
from diffusion_perception.building.builder import BuildJob, Resources, ShardBuilder, set_place
from diffusion_perception.building.forecast import SplitForecast, forecast_build
from diffusion_perception.building.split import build_split, built_here
from diffusion_perception.devices import chosen_device
from diffusion_perception.places import resolve_path
from diffusion_perception.predicting.picture_files import LISTS
from diffusion_perception.settings import replaced
from pipeline.building import ledger
from pipeline.building.plan import plan_shards
from pipeline.building.shard import finish_set
from pipeline.building.transaction import Order
from pipeline.example import Source
from pipeline.files.patterns import folder_and_pattern
from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import MANIFEST_NAME, Manifest, fingerprint
from shards.contract.schema import Schema
from shards.errors import ConfigError, FingerprintMismatch
from shards.storage.storage import open_folder
from shards.writing.writer import BUILD_FOLDER, REJECTS_NAME, read_rejects

NAME, SPLIT = "pictures", "train"  # of the set of latents, which every recipe names
WHO = "features"
_SHOWN = 20


def build_job(job: BakeJob) -> BuildJob:
    """The build of the latents, with its paths as every worker finds them.

    Raises:
        ConfigError: nothing is there, or a place that no build reads from.
    """
    image = {"name": "sd_vae", "model": job.model, "revision": job.revision or None}
    return BuildJob(
        name=NAME,
        source={"name": "pictures", "missing_caption": "empty", **_where(job.pictures)},  # as own_pictures says
        splits=(SPLIT,),
        views=job.latents.views,
        image={**image, "dtype": job.latents.dtype, "tf32": job.latents.tf32},
        out=f"{job.out.rstrip('/')}/{BUILD_FOLDER}/latents",
        storage=job.storage,
        settings=job.latents.build,
        resources=Resources(job.workers, job.gpus_per_worker, job.cpus_per_worker),
    )


def of_latents(job: BakeJob) -> BakeJob:
    """The bake of the set that is built in passing."""
    return dataclasses.replace(job, set=set_place(build_job(job), SPLIT), pictures="")


def build_here(job: BakeJob) -> None:
    """Build the latents, or what is missing of them, in this process."""
    with _builder(job) as (builder, source, planned):
        build_split(builder.job, source, planned, builder.describe(SPLIT), built_here(builder, WHO), who=WHO)


def tell_rejects(job: BakeJob) -> None:
    """Say which pictures are left out, since the list of them goes with the latents."""
    folder = open_folder(set_place(build_job(job), SPLIT), storage_options=job.storage)
    rejects = read_rejects(folder) if folder.exists(REJECTS_NAME) else []
    for reject in rejects[:_SHOWN]:
        print(f"[{WHO}] left out: {reject['key']}: {reject['reason']}", flush=True)
    if len(rejects) > _SHOWN:
        print(f"[{WHO}] and {len(rejects) - _SHOWN} more pictures are left out", flush=True)


def finished(job: BakeJob) -> Manifest | None:
    """The baked set, if it is there. Its latents are not, so that their bytes are taken for those it was made from:
    pictures are compared by their names and sizes.

    Raises:
        FingerprintMismatch: a set of another recipe is there.
    """
    folder = open_folder(job.out, storage_options=job.storage)
    if not folder.exists(MANIFEST_NAME):
        return None
    manifest = Manifest.load(folder)
    job = dataclasses.replace(job, device="cpu")  # recipes say none
    with _builder(job) as (builder, _, _):
        made = _plain(builder.describe(SPLIT).recipe)
    known = (manifest.recipe.get("source") or {}).get("tars_sha256", "")
    source = {"set": f"{NAME}-{SPLIT}", "fingerprint": fingerprint(made), "tars_sha256": known}
    try:
        manifest.check_fingerprint(_plain(Baker(of_latents(job), source).recipe))
    except FingerprintMismatch as error:
        raise FingerprintMismatch(
            f"{error} The line 'source.fingerprint', if there is one, is about the pictures: their names and "
            "sizes, and how they are cut and encoded (latents)."
        ) from None
    print(f"[{WHO}] {folder.name}: already baked, nothing to do ({folder})", flush=True)
    return manifest


def forecast_pictures(job: BakeJob) -> list[str]:
    """What a bake would take, in words, by a batch of pictures that is tried in a temporary folder."""
    with _builder(job) as (builder, source, planned), tempfile.TemporaryDirectory() as place:
        keys = [key for shard in planned.planned for key in shard.keys]
        tried = keys[: job.batch_size]
        described, sample = builder.describe(SPLIT), Path(place, f"{NAME}-{SPLIT}")
        started_s = time.perf_counter()
        manifest = _sample(builder, source, described, tried, sample)
        took_s = time.perf_counter() - started_s
        estimate, views = planned.estimate, manifest.counts["view"]
        lines = [f"latents first: {line}" for line in planned.lines()]
        hours = took_s / len(tried) * len(keys) / 3600
        lines.append(f"about {hours:.3g} h for latents, by {len(tried)} picture(s) tried here")
        if rejects := manifest.counts["rejects"]:
            limit = f"latents.build.max_rejects={job.latents.build.max_rejects:g}"
            lines.append(f"{rejects} of these cannot be read: left out, or the end of the bake above {limit} of all")
        tar_bytes = Sizes.of(manifest).bytes / views * estimate.views
        sizes = Sizes(estimate.records, estimate.views, estimate.shards, tar_bytes)
        here = dataclasses.replace(job, set=str(sample), pictures="")
        return [*lines, *forecast(here, Baker(here), sizes)]


def _sample(builder: ShardBuilder, source: Source, described: Described, keys: list[str], place: Path) -> Manifest:
    """A set of a few pictures, whatever share of them cannot be read."""
    settings = dataclasses.replace(builder.job.settings, max_rejects=1.0)
    ledger.open_build(place, described.recipe, described.environment)
    work = Assignment(SPLIT, str(place), Order(take_over="nothing"), described.recipe, described.environment)
    (shard,) = plan_shards(keys, len(keys), place.name)
    builder.build(work, shard)
    schema = Schema.from_json(described.schema)
    return finish_set([shard], source, SPLIT, schema, described.recipe, place, settings)


@contextmanager
def _builder(job: BakeJob) -> Iterator[tuple[ShardBuilder, Source, SplitForecast]]:
    """A builder of the latents in this process, the source, and what is to be built."""
    import torch

    build, device, threads = build_job(job), chosen_device(job.device), torch.get_num_threads()
    source, planned = forecast_build(build)
    # An encoder on the CPU takes as many threads as its resources say; here these are the process's own.
    build = replaced(build, {"resources.cpus_per_actor": threads})
    try:
        yield ShardBuilder(build, str(device) if device.type == "cuda" else "cpu", source), source, planned[SPLIT]
    finally:
        torch.set_num_threads(threads)


def _where(pictures: str) -> dict[str, Any]:
    """Options of the source `pictures` for a folder, a pattern of files, or a list of them."""
    if "://" in pictures:
        raise ConfigError(
            f"pictures={pictures}: pictures are read from a disk that every worker reaches, not from a URL. Copy them, "
            "or build a set from their tars."
        )
    path = Path(os.path.expanduser(resolve_path(pictures, "pictures")))
    if path.is_dir():
        return {"root": str(path), "images": ".", "splits": [SPLIT]}
    if path.suffix.lower() in LISTS and path.is_file():
        return {"root": str(path.parent), "images": ".", "lists": {SPLIT: path.name}}
    folder, below = folder_and_pattern(Path(), path)
    if not below:
        raise ConfigError(
            f"pictures={pictures}: no folder there. Expected a folder of pictures, a pattern of files such as "
            "'photos/**/*.jpg', or a list of them (.txt, one a line, below the folder that the list lies in)."
        )
    return {"root": str(folder), "images": below, "splits": [SPLIT]}


def _plain(recipe: dict[str, Any]) -> dict[str, Any]:
    """As a manifest has it."""
    return parse_json(canonical_json(recipe, "recipe"), "recipe")
