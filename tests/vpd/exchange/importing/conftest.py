"""Published-format checkpoints as files, written once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.golden_files import GoldenSet
from vpd.exchange.importing.files import read_checkpoint

Published = Callable[[str], Path]


@pytest.fixture(scope="session")
def published(golden: GoldenSet) -> Published:
    """The path of a recorded checkpoint, by its name: ldm_sd_v1_like.ckpt, vpd_depth_last.ckpt, ..."""
    return golden.checkpoint


@pytest.fixture
def altered(published: Published, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a recorded checkpoint with its weights changed by a function of the state dict."""

    def write(name: str, change: Callable[[dict[str, torch.Tensor]], object], wrap: str = "state_dict") -> Path:
        weights = dict(read_checkpoint(published(name), allow_namespace=True).weights)
        change(weights)
        target = tmp_path / "altered.ckpt"
        torch.save({wrap: weights} if wrap else weights, target)
        return target

    return write
