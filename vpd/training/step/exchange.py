"""How several workers add up their gradients: the settings of torch's data parallelism (`loop.exchange`).

Owns what the settings mean to it. Who wraps the model is left to `jobs.train`, when gradients are added up to
`vpd.training.step.gradients`. Annotations are evaluated here, since torch looks at those of a hook.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from vpd.training.settings import ExchangeConfig


def ddp_options(config: ExchangeConfig) -> dict[str, Any]:
    """Arguments of `DistributedDataParallel`."""
    return {"gradient_as_bucket_view": config.bucket_view, "static_graph": config.static_graph}


def with_hook(model: nn.Module, config: ExchangeConfig) -> nn.Module:
    """The same model, its gradients travelling as they are asked to; one that is not wrapped has none that travel."""
    if isinstance(model, DistributedDataParallel) and config.dtype == "bfloat16":
        model.register_comm_hook(None, _in_bfloat16)
    return model


def _in_bfloat16(group: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:  # pyright: ignore[reportPrivateImportUsage]
    """torch's own hook, which by its name is refused where there is no NCCL; processes on CPUs can do it, too."""
    return bf16_compress_hook(group, bucket)
