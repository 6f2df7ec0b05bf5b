"""Which datasets are described: the modules of `pipeline.datasets`, found by their names. `+` is written `_plus`."""

from __future__ import annotations

import importlib
import pkgutil

from pipeline.stocktaking.facts import Dataset
from shards.errors import ConfigError, did_you_mean

PACKAGE = "pipeline.datasets"  # each of its modules describes one


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__))


def described(name: str) -> Dataset:
    """The description of a dataset.

    Raises:
        ConfigError: there is none of this name.
    """
    module, there = name.replace("+", "_plus").lower(), known()
    if module not in there:
        raise ConfigError(
            f"no dataset '{name}' is described.{did_you_mean(module, there)} There are: {', '.join(there)}."
        )
    return importlib.import_module(f"{PACKAGE}.{module}").describe()
