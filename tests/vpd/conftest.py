"""A small Stable Diffusion shaped UNet, and the recorded outputs of the official code."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import torch

from tests.golden_files import Golden, GoldenSet
from vpd.backbones.sd_unet.keys import unet_key
from vpd.backbones.sd_unet.unet import SdUnet

# The model of the recordings: SD 1.5 at a tenth of its width (docs/methods/parity.md#small-model).
UNET_CONFIG = {
    "block_out_channels": (32, 64, 128, 128),
    "layers_per_block": 2,
    "cross_attention_dim": 64,
    "attention_head_dim": 8,
}


def _weights(golden: GoldenSet, name: str) -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):  # refer checkpoints hold their command line
        return torch.load(golden.checkpoint(name), weights_only=True)


def with_ldm_weights(backbone: SdUnet, state: dict[str, torch.Tensor], prefix: str) -> SdUnet:
    """Load LDM weights strictly, but for the output head that the backbone does not have."""
    ours = {unet_key(k.removeprefix(prefix)): v for k, v in state.items() if k.startswith(prefix)}
    dropped = [k for k in ours if k.startswith(("conv_norm_out.", "conv_out."))]
    assert len(dropped) == 4
    backbone.unet.load_state_dict({k: v for k, v in ours.items() if k not in dropped}, strict=True)
    return backbone


@pytest.fixture(scope="session")
def golden_wrapper(golden: GoldenSet) -> Golden:
    return golden.recording("unet_wrapper")


@pytest.fixture(scope="session")
def golden_refer(golden: GoldenSet) -> Golden:
    return golden.recording("vpd_refer")


@pytest.fixture(scope="session")
def golden_seg(golden: GoldenSet) -> Golden:
    return golden.recording("vpd_seg")


@pytest.fixture(scope="session")
def golden_meta_seg(golden: GoldenSet) -> Golden:
    return golden.recording("metaprompts_seg")


@pytest.fixture(scope="session")
def meta_seg_weights(golden: GoldenSet) -> dict[str, torch.Tensor]:
    """Weights of an official Meta Prompts segmentation model outside UNet and VAE, which are `sd_weights`."""
    return _weights(golden, "metaprompts_seg_extra.pth")


@pytest.fixture(scope="session")
def seg_weights(golden: GoldenSet) -> dict[str, torch.Tensor]:
    """Weights of an official segmentation checkpoint."""
    return _weights(golden, "vpd_seg_iter.pth")["state_dict"]


@pytest.fixture(scope="session")
def golden_depth_metrics(golden: GoldenSet) -> Golden:
    return golden.recording("depth_metrics")


@pytest.fixture(scope="session")
def golden_depth(golden: GoldenSet) -> Golden:
    return golden.recording("vpd_depth")


@pytest.fixture(scope="session")
def golden_meta_depth(golden: GoldenSet) -> Golden:
    return golden.recording("metaprompts_depth")


@pytest.fixture(scope="session")
def meta_depth_weights(golden: GoldenSet) -> dict[str, torch.Tensor]:
    """Weights of an official Meta Prompts depth checkpoint."""
    return _weights(golden, "metaprompts_depth_best.ckpt")["model"]


@pytest.fixture(scope="session")
def sd_weights(golden: GoldenSet) -> dict[str, torch.Tensor]:
    """LDM-named weights of an SD-v1 shaped file."""
    return _weights(golden, "ldm_sd_v1_like.ckpt")["state_dict"]


@pytest.fixture(scope="session")
def refer_weights(golden: GoldenSet) -> dict[str, torch.Tensor]:
    """Weights of an official refer checkpoint."""
    return _weights(golden, "vpd_refer_model_best.pth")["model"]


@pytest.fixture(scope="session")
def depth_weights(golden: GoldenSet) -> dict[str, torch.Tensor]:
    """Weights of an official depth checkpoint."""
    return _weights(golden, "vpd_depth_last.ckpt")["model"]


@pytest.fixture
def make_unet() -> Any:
    """Builds a small backbone with seeded random weights; options as of `SdUnet`."""

    def make(config: dict[str, Any] | None = None, seed: int = 0, **options: Any) -> SdUnet:
        torch.manual_seed(seed)
        return SdUnet.from_config(UNET_CONFIG | (config or {}), **options).eval()

    return make


@pytest.fixture
def load_ldm() -> Any:
    """`with_ldm_weights`, for tests."""
    return with_ldm_weights
