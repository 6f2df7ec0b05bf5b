"""The pre-trained model as a folder that diffusers reads, in half precision, with its card.

Owns the files, the card's text and the digest in it: sha256 over the names and bytes of all weights, so that a card
and the weights beside it cannot part unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from transformers import CLIPTokenizer

from demo.pretrain.denoiser import Denoiser
from demo.pretrain.samples import sampled
from demo.tiny_sd import no_bars, write_pipeline_index

ROWS = 9  # of the card's table of losses, a stage
CARD = """\
---
library_name: diffusers
pipeline_tag: text-to-image
license: mit
---

# Tiny Stable Diffusion of the demo's world

A latent diffusion model in the form of Stable Diffusion v1, {millions:.1f} million weights in float16, trained from
{start} on rendered pictures of coloured shapes in a room and captions made from their scenes
(`demo/world.py`, `demo/phrases.py`). It knows nothing else. `make demo` fine-tunes it.

- Script: `python -m demo.pretrain`, commit `{commit}`, seed {seed}; {minutes:.0f} minutes of wall time on CPU cores
  that other processes shared.
- VAE: 8 pixels a latent, 4 channels, raw latents of Stable Diffusion's spread (scaling factor 0.18215). Its encoder's
  signals are made by hand (`demo/tiny_sd.py`), its decoder is trained.
- U-Net and text encoder: trained together, predicting noise; scaled-linear schedule of 1000 steps, a tenth of the
  captions dropped, averaged weights.
- Digest of the weights: `{digest}`

![Samples](samples.jpg)

*Samples: {sample_steps} steps of DDIM, guidance 3, seed 0.*

Held-out loss, on scenes that training never saw (U-Net: squared error of the noise; decoder: absolute error in grey
values of 255, of which the pictures' own noise makes about 3):

| stage | step | held-out loss |
|---|---|---|
{losses}
"""


def write_folder(
    folder: Path,
    vae: AutoencoderKL,
    model: Denoiser,
    tokenizer: Path,
    log: Path,
    *,
    seed: int,
    sample_steps: int,
    start: Path | None = None,
) -> None:
    """Write (or write anew) the model folder.

    Args:
        tokenizer: folder of it.
        log: of the held-out losses.
        seed, sample_steps: what the card says of training and of its samples.
        start: the model folder whose weights training went on from; None: random ones.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tokenizer, folder / "tokenizer")
    sheet = sampled(model.eval(), vae, CLIPTokenizer.from_pretrained(tokenizer), seed=0, steps=sample_steps)
    with no_bars():
        vae.half().save_pretrained(folder / "vae")
        model.unet.half().save_pretrained(folder / "unet")
        model.text_encoder.half().save_pretrained(folder / "text_encoder")
    write_pipeline_index(folder)
    sheet.save(folder / "samples.jpg", quality=88)
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    weights = sum(parameter.numel() for part in (vae, model) for parameter in part.parameters())
    card = CARD.format(
        millions=weights / 1e6,
        commit=_commit(),
        seed=seed,
        sample_steps=sample_steps,
        start="random weights" if start is None else f"the weights of digest `{digest_of(start)[:12]}`",
        minutes=minutes_of(entries),
        digest=digest_of(folder),
        losses="\n".join(_rows(entries)),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def digest_of(folder: Path) -> str:
    """sha256 over the names and the bytes of a folder's weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def minutes_of(entries: list[dict]) -> float:
    """Of training, all stages; time between the runs of one that was interrupted is none of it."""
    return sum({entry["stage"]: entry["trained_s"] for entry in entries}.values()) / 60


def _rows(entries: list[dict]) -> list[str]:
    """Evenly spread over each stage, first and last among them."""
    rows = []
    for stage in ("unet", "decoder"):
        own = [entry for entry in entries if entry["stage"] == stage]
        places = sorted({round(k * (len(own) - 1) / (ROWS - 1)) for k in range(ROWS)}) if own else []
        rows += [f"| {stage} | {own[k]['step']} | {own[k]['held_out_loss']:.4f} |" for k in places]
    return rows


def _commit() -> str:
    """Of the script that is running; "unknown" outside a checkout."""
    found = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return found.stdout.strip() or "unknown"
