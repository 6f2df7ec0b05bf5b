"""How many bytes of tensors are alive at once while something runs, on tensors with or without data.

Owns the bookkeeping: a storage counts from the operation that makes it until the last tensor on it is gone. What a
kernel takes and gives back while it runs nobody can see here. What runs, and on what, is left to the caller.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveStorages(TorchDispatchMode):
    """Counts the storages that operations under it make, and those it is told of.

    Attributes:
        now: bytes alive.
        peak: the most there were at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}  # identity of a storage that is alive -> bytes

    def hold(self, tensors: Iterable[torch.Tensor | None]) -> None:
        """Count tensors that were there before."""
        for tensor in tensors:
            if tensor is not None:
                self._see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf)
        return out

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key)
