"""Where things are: the project or the wheel this code runs from, configurations, data folders, model folders.

Relative data paths start at the repository in a checkout and at the working directory for an installed package, never
in site-packages. Under a working directory that was uploaded to a cluster they are refused: it is a temporary folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "configs").is_dir() else None  # None: installed from a wheel


def data_root() -> Path:
    """The folder that relative data paths start from."""
    return CHECKOUT or Path.cwd()


def configuration_roots() -> list[Path]:
    """Folders a configuration may be named relative to, in the order they are tried."""
    return [Path.cwd(), CHECKOUT or PACKAGE]


def in_uploaded_directory() -> bool:
    """Whether this process runs in a copy of the repository that `--working-dir` sent to a cluster."""
    return "working_dir_files" in PACKAGE.parts or "_ray_pkg_" in str(PACKAGE)


def resolve_path(path: str, setting: str) -> str:
    """A data path as every node will see it: URLs and absolute paths stay, relative ones start at `data_root`.

    Raises:
        ConfigError: a relative path while running from an uploaded working directory, where it would be lost.
    """
    if not path or "://" in path or os.path.isabs(path):
        return path
    if path.startswith("~"):
        return os.path.expanduser(path)
    if in_uploaded_directory():
        raise ConfigError(
            f"setting '{setting}' is the relative path '{path}', but this job runs from an uploaded working directory, "
            "a temporary folder on the cluster. Give an absolute path or a URL that every node can reach, "
            f"e.g. {setting}=/data/{path}."
        )
    return str(data_root() / path)


def resolve_model(model: str) -> str:
    """A model or dataset as every worker finds it: a local folder, file or pattern of files by its absolute path, a hub
    id or URL as it is."""
    path = data_root() / os.path.expanduser(model)
    pattern = "*" in model and "://" not in model
    return str(path) if model and (pattern or os.path.exists(path)) else model  # False, too, of what can be no path


def located(plugin: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A plug-in's options with its data folder (`root`), its model and its dataset made absolute."""
    options = dict(plugin)
    if "root" in options:
        options["root"] = resolve_path(str(options["root"]), f"{where}.root")
    for name in ("model", "dataset"):
        if name in options:
            options[name] = resolve_model(str(options[name]))
    return options
