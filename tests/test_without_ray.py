"""Where Ray is not installed: every source, view, encoder, head, metric and drawing imports, and prediction runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from import_graph import modules

ROOT = Path(__file__).resolve().parent.parent
BLOCKED = "import sys; sys.modules['ray'] = None\n"  # `import ray` then fails as if it were not installed


def test_everything_a_prediction_uses_imports_without_ray() -> None:
    names = sorted(modules(ROOT, ("shards", "pipeline", "vpd", "diffusion_perception")))
    assert {"pipeline.sources.kitti", "vpd.tasks.seg.metric", "vpd.drawing.strip"} <= set(names)
    load = f"import importlib\nfor name in {[*names, 'jobs.predict']!r}:\n    importlib.import_module(name)\n"
    ran = subprocess.run([sys.executable, "-c", BLOCKED + load], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_block_blocks() -> None:
    ran = subprocess.run([sys.executable, "-c", BLOCKED + "import ray"], cwd=ROOT, capture_output=True, text=True)
    assert "ModuleNotFoundError: import of ray halted" in ran.stderr
