"""Finds where Python waits for a device: the calls that bring a number or a size back from it.

On a GPU each of them stops the host until everything queued is done. They are the same calls on a CPU, so no GPU is
needed to find them; `with NothingWaits():` raises where one is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ASKED = {"item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero", "unique"}
DONE = {"aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::masked_select", "aten::equal"}


class Waits(AssertionError):
    """A call that brings something back."""


class _Asked(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in ASKED:
            raise Waits(func.__name__)
        return func(*args, **(kwargs or {}))


class _Done(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func.name().split(".")[0] in DONE:
            raise Waits(func.name())
        masks = args[1] if func.name().startswith("aten::index.Tensor") else ()
        if any(isinstance(mask, torch.Tensor) and mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            raise Waits("indexing with a mask")
        return func(*args, **(kwargs or {}))


class NothingWaits:
    """Raises `Waits` for what brings something back within."""

    def __enter__(self) -> None:
        self._modes = (_Asked(), _Done())
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *raised: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*raised)
