"""Layers of a network, read by name while it runs; what comes after the last of them is not computed.

Owns hooks and the early end. A layer is any module of the network by its name in the library, such as `up_blocks.1` or
`mid_block.attentions.0`; what is read is what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from shards.errors import ConfigError, did_you_mean


class _AllRead(BaseException):
    """Ends a pass; no `except Exception` of the network's own may take it for a fault."""


def layers_of(network: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of these names, in the order given.

    Raises:
        ConfigError: a name that no module of the network has, or the same twice.
    """
    modules = {name: module for name, module in network.named_modules() if name}
    for name in names:
        if name not in modules:
            raise ConfigError(
                f"layer {name!r} is none of {type(network).__name__}.{did_you_mean(name, modules)} A layer is a "
                f"module's name; its blocks are {', '.join(blocks_of(network))}, and every module inside has one, too."
            )
    if len(set(names)) < len(names):
        raise ConfigError(f"layers are {list(names)}: each can be read once.")
    return {name: modules[name] for name in names}


def blocks_of(network: nn.Module) -> list[str]:
    """The names of a network's blocks, in the order they are defined: `down_blocks.0`, `mid_block` and so on."""
    blocks: list[str] = []
    for name, module in network.named_children():
        if isinstance(module, nn.ModuleList) and name.endswith("blocks"):
            blocks += [f"{name}.{number}" for number in range(len(module))]
        elif name.endswith("_block") and module is not None:
            blocks.append(name)
    return blocks


def read(layers: dict[str, nn.Module], run: Callable[[], object], *, whole: bool = False) -> dict[str, Any]:
    """What each of `layers` gives while `run` calls their network, in their order.

    Args:
        whole: go on to the end of the pass, since something else is read of it as well.

    Raises:
        ConfigError: a layer that the pass does not use.
    """
    found: dict[str, Any] = {}

    def keep(name: str, output: Any) -> None:
        found[name] = output
        if len(found) == len(layers) and not whole:
            raise _AllRead

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
        for name, module in layers.items()
    ]
    try:
        run()
    except _AllRead:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    if unused := [name for name in layers if name not in found]:
        raise ConfigError(f"layers {unused} take no part in a pass of this model: choose others.")
    return {name: found[name] for name in layers}
