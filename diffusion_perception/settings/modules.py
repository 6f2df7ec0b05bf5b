"""Plug-in modules as files: which there are of a kind, whether one exists, and what its `build` takes.

Nothing is imported here, so a configuration is checked without loading what it names. Importing and building them is
`diffusion_perception.plugins`'.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_perception.settings import source_text
from diffusion_perception.settings.signatures import Signature, of_callable
from shards.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Kind:
    """One kind of plug-in: a package whose modules have a `build`.

    Args:
        package: where short names are looked up.
        n_leading: first parameters of its `build`s, which no configuration writes.
        given: options that the caller of `build` decides.
    """

    package: str
    n_leading: int = 0
    given: tuple[str, ...] = ()


_SPECIAL = (
    Kind("pipeline.encoders", given=("device",)),
    Kind("vpd.heads", n_leading=1),  # after the features
    Kind("vpd.features.families", n_leading=1),  # the pipeline
    Kind("vpd.probes", n_leading=3),  # after channels, task and steps
    Kind("vpd.training.trackers", n_leading=1),  # after what it is told of the run
    Kind("vpd.training.schedules", n_leading=2),  # after the steps of a run and of an epoch
)
_KINDS = {kind.package: kind for kind in _SPECIAL}


def kind_of(package: str) -> Kind:
    return _KINDS.get(package) or Kind(package)


def module_name(package: str, spec: Mapping[str, Any], where: str) -> str:
    """The module a plug-in setting names.

    Raises:
        ConfigError: no name, or no such plug-in; the message lists the package's.
    """
    name = str(spec.get("name") or "")
    if not name:
        meant = next((f" Did you mean it by '{key}'?" for key in spec if did_you_mean(str(key), ["name"])), "")
        known = ", ".join(available(package))
        raise ConfigError(f"setting '{where}' needs a 'name': one of {known}, or a dotted module.{meant}")
    module = name if "." in name else f"{package}.{name}"
    there = source_text.spec_of(module) is not None if "." in name else source_text.defines_build(module)
    if not there:
        choices = available(package)
        raise ConfigError(
            f"setting '{where}': no module {module} with a build(**options).{did_you_mean(name, choices)} "
            f"There are: {', '.join(choices)}; a dotted name is imported as it is."
        )
    return module


def available(package: str) -> list[str]:
    """The plug-ins of a package: its modules and folders that have a `build`."""
    spec = source_text.spec_of(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    names = sorted(module.name for module in pkgutil.iter_modules(places))
    return [name for name in names if source_text.defines_build(f"{package}.{name}")]


def signature(package: str, module: str, where: str = "") -> Signature:
    """The options a configuration may give a plug-in of a kind.

    Raises:
        ConfigError: the module has no `build`.
    """
    kind = kind_of(package)
    found = source_text.of_module(module, kind.n_leading)
    if found is None:  # made at run time: only the module itself can tell
        build = getattr(importlib.import_module(module), "build", None)
        if not callable(build):
            raise ConfigError(f"setting '{where or package}': {module} has no function build(**options).")
        found = of_callable(build, kind.n_leading)
    return found
