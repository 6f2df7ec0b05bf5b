"""Settings that are not those a run began with.

Owns which may change between two starts of a run, and why; any other change makes it another run, and is refused until
it is asked for. The set, the batch and the shapes of the network are held against the checkpoint itself
(`vpd.training.resume`), whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from diffusion_perception.settings import binding, describe, to_plain
from diffusion_perception.settings.describe import Setting
from diffusion_perception.settings.signatures import REQUIRED, Unread
from shards.errors import ConfigError

if TYPE_CHECKING:
    from diffusion_perception.train_job import TrainJob
    from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore

# A setting, or a whole section or plug-in, that may change freely -> why nothing that is learned depends on it.
FREE: Mapping[str, str] = {
    "run": "places the processes; a step has the same batch on any number of them",
    "data.train": "says where the set lies; which it is, its fingerprint tells",
    "data.subset": "says which records the set has; its fingerprint tells",
    "data.mix": "says which sets are read as one, and how; the fingerprint of all tells",
    "data.source": "says where the pictures lie; whether they are the set's, its recipe tells",
    "data.eval_batch_size": "packs samples that are scored one by one",
    "data.threads": "is about when a batch is read, not which",
    "data.ahead": "is about when a batch is read, not which",
    "data.storage": "says how the place of the set is reached; which it is, its fingerprint tells",
    "data.cache_dir": "is about where a copy of the set lies",
    "data.cache_gb": "is about how much of a copy of the set is kept",
    "data.index_mb": "is about how much of the set's indexes is kept",
    "encoders.model": "says where the encoders lie; whether they are the set's, its recipe tells",
    "encoders.revision": "says where the encoders lie; whether they are the set's, its recipe tells",
    "encoders.vision": "says where the encoder of predictions lies; whether it is the set's, its recipe tells",
    "loop.log_every_steps": "is about what is told, and when",
    "loop.eval_every_steps": "is about what is told, and when",
    "loop.eval_at_start": "is about what is told, and when",
    "loop.save_every_steps": "is about what is kept, and when",
    "loop.keep_last": "is about what is kept, and when",
    "loop.stop_after_steps": "ends a start early; the run is as long as before",
    "loop.exchange.bucket_view": "is about where gradients lie",
    "loop.exchange.static_graph": "is about when gradients travel",
    "optim.sharded": "is about who keeps which moments; a checkpoint has all of them",
    "loop.keep_features_gb": "is about what is computed again, to the same features",
    "loop.keep_features_in": "is about what is computed again, to the same features",
    "loop.cuda_graphs": "is about how kernels are launched, which are the same ones",
    "loop.mfu": "is about what is told, and when",
    "loop.profile": "is about what is told, and when",
    "loop.pictures": "is about what is told, and when",
    "loop.pictures_from": "is about what is told, and when",
    "loop.nonfinite": "is about what follows a number that is not finite, which is never applied",
    "loop.roll_backs": "is about what follows a number that is not finite, which is never applied",
    "loop.deterministic": "is about the order in which a GPU adds, as the number of workers is",
    "predict_views": "is read by predictions only",
}


def check_unchanged(job: TrainJob, store: CheckpointStore, checkpoint: Checkpoint) -> list[str]:
    """The settings that changed since a checkpoint, for a person, where `run.allow_changed` allows it.

    Raises:
        ConfigError: it does not; the message lists them.
    """
    before = store.load_state(checkpoint).get("config")
    changed = list(changes(before, to_plain(job))) if before else []
    if changed and not job.run.allow_changed:
        listed = "\n  ".join(changed)
        raise ConfigError(
            f"{checkpoint.path} was trained with other settings:\n  {listed}\n"
            "Keep them, start a new run under another name (run.name), or go on with the new ones from here: "
            "--allow-changed (run.allow_changed=true)."
        )
    return changed


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """`optim.lr: 5e-05 -> 0.0001` for every setting in force that differs and may not; both are whole configurations,
    in which a setting that is not written is its default."""
    old, new = in_force(before), in_force(after)
    for path in dict.fromkeys([*new, *old]):
        here, there = old.get(path), new.get(path)
        if here != there and not _free(path):
            yield f"{path}: {_spelled(here)} -> {_spelled(there)}"


def _free(path: str) -> bool:
    return any(path == free or path.startswith(f"{free}.") for free in FREE)


def in_force(data: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting and every option of a plug-in by its path, of a whole configuration as plain data."""
    from diffusion_perception.train_job import TrainJob

    settings = list(describe.settings_of(TrainJob, data))
    task = next(describe.name_in_force(s) for s in settings if s.package == describe.TASKS)
    found: dict[str, Any] = {}
    for setting in settings:
        if not setting.package:
            found[setting.path] = _plain(setting)
            continue
        given = dict(setting.given) if isinstance(setting.given, Mapping) else {}
        found |= {f"{setting.path}.{option}": value for option, value in given.items()}  # of a plug-in that is gone
        name = describe.name_in_force(setting, task)
        if name:
            found[f"{setting.path}.name"] = name
            found |= {option.path: _plain(option) for option in describe.plugin_settings(setting, name)}
    return found


def _plain(setting: Setting) -> Any:
    value = setting.in_force
    if isinstance(value, Unread):
        return value.source
    if value is REQUIRED:
        return None
    try:
        return to_plain(binding.convert(setting.hint, value, setting.path))
    except ConfigError:  # of an older version: compared as it is written
        return value


def _spelled(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)
