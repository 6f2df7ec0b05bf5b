"""Finds what is made on the host and copied to a device meanwhile, for which a GPU waits, and which no graph can hold.

The device is the meta device, so no GPU is needed; `with MadeThere():` raises where a tensor lies anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = {"tensor", "as_tensor", "from_numpy"}  # from numbers of the host, whatever device they are asked for


class Copied(AssertionError):
    """A tensor of the host."""


class _Asked(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in COPIES:
            raise Copied(func.__name__)
        return func(*args, **(kwargs or {}))


class _Made(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(isinstance(one, torch.Tensor) and one.device.type != "meta" for one in tree_leaves(made)):
            raise Copied(func.name())
        return made


class MadeThere:
    """Raises `Copied` for a tensor that is not made on the meta device within."""

    def __enter__(self) -> None:
        self._modes = (_Asked(), _Made())
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *raised: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*raised)
