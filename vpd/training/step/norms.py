"""Batch norms of a run on several workers: whose pictures they look at in training, and whose statistics are kept.

Owns the meaning of `model.batch_norm`. With data parallelism the first worker's running statistics are every worker's
at the start of each forward pass (DDP hands them out); they are the ones that are saved, and evaluated.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from shards.errors import ConfigError
from vpd.model.perception import Perception
from vpd.model.settings import ModelConfig
from vpd.training.settings import TrainConfig
from vpd.training.worker import Worker


def joins_norms(settings: ModelConfig, worker: Worker) -> bool:
    """Whether batch norms look at the pictures of all workers, which torch can do on GPUs only."""
    return settings.batch_norm == "synchronised" and worker.world > 1 and worker.device.type == "cuda"


def check_compiled_norms(config: TrainConfig, model: Perception, worker: Worker) -> None:
    """ConfigError if the head is compiled, and has norms that would be joined."""
    if not (config.loop.compile_head and joins_norms(config.model, worker)):
        return
    if any(isinstance(module, _BatchNorm) for module in model.head.modules()):
        raise ConfigError(
            "loop.compile_head is true, and the head's batch norms look at the pictures of all GPUs "
            "(model.batch_norm=synchronised): workers would exchange numbers in the midst of what is compiled, which "
            "has never been tried. Set model.batch_norm=worker or loop.compile_head=false."
        )


def norm_statistics(model: nn.Module) -> list[torch.Tensor]:
    """What the norms of a model remember of the pictures they saw."""
    return [buffer for module in model.modules() if isinstance(module, _NormBase) for buffer in module.buffers()]
