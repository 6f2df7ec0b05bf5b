"""Forecasts of toy runs, and the same networks with weights to compare them with."""

from __future__ import annotations

from typing import Any

import torch

from diffusion_perception.assembly.network import build_around
from diffusion_perception.forecast.training import TrainingForecast, forecast_training
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from tests.toy_runs import CLASSES, UNET
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.perception import Perception


def forecast(settings: dict[str, Any], *, dry: bool = False) -> TrainingForecast:
    return forecast_training(bind(TrainJob, settings), dry=dry)


def built(plan: TrainingForecast, **options: Any) -> Perception:
    """The same network with weights, on the CPU."""
    torch.manual_seed(0)
    job = plan.job
    backbone = SdUnet.from_config(
        UNET, **{k: v for k, v in job.backbone.items() if k not in ("name", "model")}, **options
    )
    table = torch.ones(CLASSES, UNET["cross_attention_dim"]) if plan.task.uses_classes else None
    return build_around(backbone, job, plan.task, plan.sets.tokens, None if job.model.prompts.count else table).train()
