"""Everything the training loop needs, put together from its configuration.

Which sets and which network that is, their own rooms say (`sets`, `network`). Imports torch only inside functions.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from diffusion_perception import plugins
from diffusion_perception.assembly import fit
from diffusion_perception.assembly.companions import build_encoders, check_label_decoder
from diffusion_perception.assembly.network import build_model
from diffusion_perception.assembly.parts import build_schedule, build_task
from diffusion_perception.assembly.sets import class_table, open_set, open_training_set
from shards.contract.manifest import Manifest, recipe_difference
from shards.errors import ConfigError, FingerprintMismatch

if TYPE_CHECKING:
    import torch

    from diffusion_perception.train_job import TrainJob
    from vpd.backbones import BackboneFacts
    from vpd.training.feeding import Parts


def build_parts(job: TrainJob, device: torch.device) -> Parts:
    """Everything the training loop needs."""
    from vpd.exchange.pretrained import initialise
    from vpd.model.regimes import apply_regime
    from vpd.training.feeding import Parts

    train_set = open_training_set(job.data)
    val_set = open_set(job.data.val, job.data, job.data.val_subset) if job.data.val else None
    task = build_task(job)
    load_pixels = pixel_loader(job, train_set.manifest) if job.data.latents == "online" else None
    rows, names = class_table(job, task, train_set.manifest)
    model = build_model(job, task, train_set.schema, rows)
    facts: BackboneFacts = model.backbone.facts  # read from the weights' own config, where a driver may have assumed
    fit.check_set(job, task, facts, train_set.manifest, "data.train")
    fit.check_stride(facts, train_set)
    check_label_decoder(model.head, train_set.manifest.recipe)
    if job.model.init:
        initialise(model, job.model.init)
    apply_regime(model, job.model)
    return Parts(
        task=task,
        model=model,
        class_names=names,
        schedule=partial(build_schedule, job.optim.schedule),
        train_set=train_set,
        val_set=val_set,
        encoders=build_encoders(job, facts.companions, train_set.schema, train_set.manifest.recipe, device),
        load_pixels=load_pixels,
    )


def pixel_loader(job: TrainJob, manifest: Manifest) -> Any:
    """Sample -> the pixels its latent was made from, rendered again from the dataset.

    Raises:
        ConfigError: no data.source.
        FingerprintMismatch: the dataset there is not the one the set was built from.
    """
    from pipeline.rendering.geometry import render, to_pixels
    from shards.geometry.view import View

    if not job.data.source:
        raise ConfigError("data.latents is 'online': set data.source to the `source` of the set's build configuration.")
    source = plugins.build_plugin(plugins.SOURCES, job.data.source, "data.source")
    if lines := recipe_difference(manifest.recipe["source"], source.identity(manifest.split)):
        raise FingerprintMismatch(f"data.source is not what {manifest.name} was built from:\n  " + "\n  ".join(lines))

    def load(sample: Any) -> Any:
        row = sample.row if manifest.schema.item_axis == "view" else 0  # sentences share their record's first view
        view, example = View.from_json(sample.meta["views"][row]), source.load(manifest.split, sample.key)
        shown = render(example.image, view, example.labels)
        return to_pixels([shown], view.size_px, pad_before_px=[view.pad_before_px])[0]  # [3, H, W]

    return load
