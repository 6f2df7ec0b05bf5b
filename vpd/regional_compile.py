"""Compiles modules where they lie, each whole: names in a state dict stay, and nothing goes on uncompiled in silence.

Which modules are worth it, backbone and model say (docs/methods/performance.md#compiling).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

SHAPES_KEPT = 64  # per function; torch's own limit is 8, and the UNet's resnets alone have 14 signatures


def compile_each(modules: Iterable[nn.Module]) -> None:
    """Compile modules with torch.compile; they are traced at their first call.

    A part that cannot be traced is an error then, and so are more shapes than torch keeps, beyond which it would go on
    uncompiled.
    """
    dynamo: Any = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, SHAPES_KEPT)
    dynamo.fail_on_recompile_limit_hit = True
    for module in modules:
        module.compile(fullgraph=True)
