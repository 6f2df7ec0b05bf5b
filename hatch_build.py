"""Compiles shards/native while this project is installed or a wheel is made of it; without a compiler it goes without.

An editable installation gets the library into the environment, where `shards.native.library` looks, too, so that a
working folder sent to other machines, which leaves it out, finds what is installed there.
"""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "shards/native"


class CompiledReading(BuildHookInterface):
    """Of the wheel target."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add the library to what is packed."""
        path = Path(self.root) / FOLDER / "compiling.py"
        # Importing `shards` would need what is not installed yet.
        spec = importlib.util.spec_from_file_location("compiling", path)
        assert spec is not None
        assert spec.loader is not None
        compiling = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(compiling)
        self._folder = Path(tempfile.mkdtemp(prefix="shards-native-"))
        library, why = compiling.compiled(self._folder)
        if library is None:
            self.app.display_warning(f"reading will go on in Python alone, about half as fast: {why}")
            return
        packed = "force_include_editable" if version == "editable" else "force_include"
        build_data[packed][str(library)] = f"{FOLDER}/{library.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Nothing of it is needed any more."""
        shutil.rmtree(self._folder, ignore_errors=True)
