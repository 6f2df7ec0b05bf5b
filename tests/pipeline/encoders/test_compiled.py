"""Compiled encoders: whole graphs of one shape, numbers close to the plain ones, and a fingerprint of their own.

Traced, and run by torch's own operators: what a code generator makes of the graph takes minutes, and is its business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.encoders import _compiling, clip_text, sd_vae

RNG = np.random.default_rng(3)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes that were compiled for."""
    shapes: list[torch.Size] = []

    def backend(graph: Any, examples: list[torch.Tensor]) -> Any:
        shapes.extend(example.shape for example in examples if not isinstance(example, torch.nn.Parameter))
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(_compiling, "BACKEND", backend)
    return shapes


def test_latents_are_close_and_one_shape_is_compiled_for_batches_of_any_size(
    traced: list[torch.Size], model_folder: Path
) -> None:
    plain, compiled = (sd_vae.build(str(model_folder), compiled=on) for on in (False, True))
    pixels = RNG.uniform(-1, 1, (5, 3, 32, 32)).astype(np.float32)
    for rows in (2, 1, 5):
        found = compiled.encode(pixels[:rows])["latent"]
        np.testing.assert_allclose(found, plain.encode(pixels[:rows])["latent"], atol=2e-3)
    assert [shape for shape in traced if len(shape) == 4] == [(2, 3, 32, 32)]


def test_states_are_close_and_one_shape_is_compiled(traced: list[torch.Size], model_folder: Path) -> None:
    plain, compiled = (clip_text.build(str(model_folder), length=12, compiled=on) for on in (False, True))
    tokens = plain.tokenize(["a red square", "left", "the man"])
    for rows in (2, 1, 3):
        np.testing.assert_allclose(compiled.encode(tokens[:rows]), plain.encode(tokens[:rows]), atol=1e-5)
    assert (2, 12) in traced
    assert (1, 12) not in traced


@pytest.mark.parametrize(("build", "options"), [(sd_vae.build, {}), (clip_text.build, {"length": 12})])
def test_compiling_is_recorded_and_its_absence_is_not(build: Any, options: dict[str, int], model_folder: Path) -> None:
    plain, compiled = (build(str(model_folder), compiled=on, **options).fingerprint for on in (False, True))
    assert compiled == plain | {"compiled": True}
    assert "compiled" not in plain
