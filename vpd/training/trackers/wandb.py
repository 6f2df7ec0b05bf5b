"""Weights & Biases: needs the extra `wandb`, and WANDB_API_KEY or `wandb login` unless it is offline.

Curves are over `step`, which every point carries, so that a run which goes on from an earlier checkpoint may tell its
steps again. Sent are numbers, validation pictures and settings; no code, no console and no state of the machine.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from typing import Any, Literal

from PIL import Image

from shards.errors import ConfigError
from vpd.training.trackers import AboutRun, Tracker

SECONDS = 60  # that the service has to answer at the start
SECONDS_AT_END = 300  # and to take what is not sent yet; by itself the library would wait for it without an end


def build(
    about: AboutRun,
    *,
    project: str = "diffusion-perception",
    entity: str = "",
    group: str = "",
    mode: Literal["online", "offline"] = "online",
) -> Tracker:
    """Begin, or go on with, a run there.

    Args:
        project: that it belongs to.
        entity: user or team; empty: the account's own.
        group: runs that are shown together.
        mode: offline: files in the run's folder, which `wandb sync` sends later.

    Raises:
        ConfigError: not installed, no account, or no answer.
    """
    try:
        wandb: Any = importlib.import_module("wandb")  # in a module of that name, a checker takes `import` for itself
    except ImportError as error:
        raise ConfigError(
            f"run.track: wandb cannot be imported ({error}): pip install 'diffusion-perception[wandb]'."
        ) from error
    try:
        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            init_timeout=SECONDS,
            finish_timeout=SECONDS_AT_END,
            finish_timeout_raises=True,
        )
        begun = wandb.init(
            project=project,
            entity=entity or None,
            group=group or None,
            name=about.name,
            id=about.identity,
            resume="allow",
            dir=str(about.folder),
            config=dict(about.settings),
            mode=mode,
            settings=quiet,
        )
    except Exception as error:  # its service answers with errors of many kinds, not all of them wandb.Error
        raise ConfigError(
            f"run.track: wandb does not begin a run ({type(error).__name__}: {error}). Log in (wandb login, or "
            "WANDB_API_KEY), or write files that are sent later: run.track={name: wandb, mode: offline}."
        ) from error
    begun.define_metric("*", step_metric="step")
    return _Run(wandb, begun)


class _Run:
    def __init__(self, wandb: Any, begun: Any) -> None:
        self._wandb, self._begun = wandb, begun

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        self._begun.log({"step": step, **{f"{kind}/{name}": value for name, value in values.items()}})

    def show(self, step: int, name: str, jpeg: bytes) -> None:
        self._begun.log({"step": step, f"pictures/{name}": self._wandb.Image(Image.open(io.BytesIO(jpeg)))})

    def close(self) -> None:
        self._begun.finish()
