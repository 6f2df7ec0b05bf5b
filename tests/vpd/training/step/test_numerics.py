"""What the names of `loop.precision` mean, seen from inside a pass; the process's own switches come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.training.step.numerics import arithmetic_of, autocast_of

CUDNN: Any = torch.backends.cudnn


def switches() -> tuple[Any, Any]:
    return CUDNN.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.fixture(params=["tf32", "ieee"], autouse=True)
def of_the_process(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    before = switches()
    CUDNN.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = request.param
    yield switches()
    CUDNN.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.parametrize(
    ("precision", "within"), [("tf32", "tf32"), ("float32", "ieee"), ("bfloat16", "ieee"), ("auto", "ieee")]
)
def test_float32_is_what_its_name_says(precision: str, within: str, of_the_process: tuple[str, str]) -> None:
    for context in (lambda: arithmetic_of(precision), autocast_of(precision, torch.device("cpu"))):
        with context():
            assert switches() == (within, within)
        assert switches() == of_the_process


@pytest.mark.parametrize(
    ("precision", "device", "bfloat16"),
    [
        ("auto", "cpu", False),
        ("auto", "cuda", True),
        ("tf32", "cuda", False),
        ("float32", "cuda", False),
        ("bfloat16", "cpu", True),
    ],
)
def test_only_bfloat16_casts(precision: str, device: str, bfloat16: bool) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch switches autocast of a device off that it does not see")
    with autocast_of(precision, torch.device(device))():
        assert torch.is_autocast_enabled(device) == bfloat16


@pytest.mark.parametrize("fails", [False, True])
def test_backward_passes_run_as_forward_ones_do(
    fails: bool, of_the_process: tuple[str, str], depth_set: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, str]] = []

    class Watched(ToyNetwork):
        def forward(self, *inputs: Any) -> torch.Tensor:
            out = super().forward(*inputs)
            out.register_hook(lambda gradient: seen.append(switches()))
            if fails:
                raise RuntimeError("planted")
            return out

    config = toy_config(depth_set, precision="tf32", steps=1)
    if fails:
        with pytest.raises(RuntimeError, match="planted"):
            toy_train(tmp_path, config, Watched())
    else:
        toy_train(tmp_path, config, Watched())
        assert seen == [("tf32", "tf32")]
    assert switches() == of_the_process
