"""Loading models says nothing: no progress bars, and no third-party warnings that a user can do nothing about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADS = """
import sys
from demo.tiny_sd import write_tiny_sd
from diffusion_perception import Features
from pipeline.encoders import clip_text, sd_vae
from vpd.backbones.sd_unet.load import load_unet

folder = str(write_tiny_sd(sys.argv[1]))
load_unet(folder)
sd_vae.build(folder)
clip_text.build(folder, length=8)
Features.from_pretrained(folder)
"""


def test_making_and_loading_models_prints_nothing(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", LOADS, str(tmp_path / "sd")], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
