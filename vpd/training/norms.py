"""Batch norms of a run on several workers: whose pictures they look at in training, and whose statistics are kept.

Owns the meaning of `model.batch_norm`. With data parallelism the first worker's running statistics are every worker's
at the start of each forward pass (DDP hands them out); they are the ones that are saved, and evaluated.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from vpd.model.settings import ModelConfig
from vpd.training.worker import Worker


def joins_norms(settings: ModelConfig, worker: Worker) -> bool:
    """Whether batch norms look at the pictures of all workers, which torch can do on GPUs only."""
    return settings.batch_norm == "synchronised" and worker.world > 1 and worker.device.type == "cuda"


def norm_statistics(model: nn.Module) -> list[torch.Tensor]:
    """What the norms of a model remember of the pictures they saw."""
    return [buffer for module in model.modules() if isinstance(module, _NormBase) for buffer in module.buffers()]
