"""The compiler without its code: torch's real tracer, and the "eager" backend that runs what was traced as it is.

Generating code takes minutes of a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from typing import Any
from unittest.mock import patch

import torch
from torch import nn


@contextmanager
def traced_only() -> Iterator[None]:
    """Modules that are compiled meanwhile are traced only; limits that are raised are put back."""
    config: Any = torch._dynamo.config
    limits = config.recompile_limit, config.fail_on_recompile_limit_hit
    torch._dynamo.reset()
    try:
        with patch.object(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager")):
            yield
    finally:
        torch._dynamo.reset()
        config.recompile_limit, config.fail_on_recompile_limit_hit = limits
