"""Every block of docs/features.md runs as it is shown, on a tiny model; VPD's reading is that of its backbone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_perception.features.reading import Features
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import write_set

PAGE = next((Path(__file__).resolve().parents[3] / "docs").glob("features.*"))
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
SHOWN = {
    "Three lines": ["mid_block (1, 32, 1, 2) (64.0, 48.0)", "up_blocks.1 (1, 32, 4, 6) (16.0, 16.0)"],
    "DIFT": None,
    "Words in a picture": None,
    "From stored latents": None,
}


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures and the set that the page names, and a tiny model in the place of each published one."""
    rng = np.random.default_rng(0)
    for name, size in (("cat", (64, 96)), ("dog", (80, 96))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
    write_set(tmp_path / "sets" / "scenes", "seg")
    tiny = tiny_pipeline("sd15", tmp_path / "tokenizer")
    monkeypatch.setattr(Features, "from_pretrained", lambda model: Features(tiny))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("title", SHOWN)
def test_a_block_runs(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[title].replace("(768, 768)", "(128, 128)"), f"{PAGE.name}, {title}", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed
    if SHOWN[title]:
        assert printed == SHOWN[title]


def test_every_block_of_the_page_is_run() -> None:
    assert list(BLOCKS) == list(SHOWN)
    assert PAGE.read_text().count("```python") == len(BLOCKS)


def test_vpds_row_reads_what_its_backbone_gives(tmp_path: Path) -> None:
    from vpd.backbones.sd_unet.unet import SdUnet

    features = Features(tiny_pipeline("sd15", tmp_path / "again"))
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| VPD |"))
    layers = re.findall(r"`(up_blocks[^`]*)`", row)
    latents, states = torch.randn(1, 4, 8, 16), features.family.conditions([""], (64, 128))["encoder_hidden_states"]
    found = features(latents=latents, layers=layers, timestep=1, latent_scale=1)
    backbone = SdUnet(features.network, attention_maps="")  # takes the network over, so it comes last
    with torch.no_grad():
        expected = backbone(latents, states)
    assert len(layers) == len(expected) == 4
    for layer, values in zip(reversed(layers), expected, strict=True):
        torch.testing.assert_close(found[layer].values, values, rtol=0, atol=1e-5)
