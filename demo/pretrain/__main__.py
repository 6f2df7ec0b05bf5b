"""`python -m demo.pretrain`: a tiny Stable Diffusion, trained from random weights on the demo's world.

Two stages: the U-Net with the text encoder, on latents of the VAE's encoder, then the VAE's decoder. A stage that is
done is not done again; the first one goes on where it was interrupted. Both begin with the weights of --start, if it is
given. What it leaves in --out: log.jsonl (held-out losses), tiny-sd/ (the model folder with its card and samples).
Copied to demo/pretrained, `make demo` trains from it; --out is best not in demo_out, which `make demo` empties.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from transformers import CLIPTokenizer

from demo.pretrain import autoencoder, denoiser
from demo.pretrain.budget import Budget
from demo.pretrain.captions import WORDS
from demo.pretrain.folder import write_folder
from demo.pretrain.latents import encoded
from demo.tiny_sd import new_text_encoder
from demo.tiny_words import write_tokenizer

FIRST_SCENE = 100_000  # of the denoiser: apart from those of the decoder
MANY = 10**9


def main(words: Sequence[str]) -> None:
    asked = arguments(words)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    vae = autoencoder.new_autoencoder(asked.seed)
    if asked.start:
        _read(vae, asked.start / "vae")
    model = denoiser_of(asked, vae)
    vae = decoder_of(asked, vae)
    tokenizer, log = asked.out / "tokenizer", asked.out / "log.jsonl"
    said = {"seed": asked.seed, "sample_steps": asked.sample_steps, "start": asked.start}
    write_folder(asked.out / "tiny-sd", vae, model, tokenizer, log, **said)
    print(f"written: {asked.out / 'tiny-sd'}; copied to demo/pretrained, `make demo` trains from it", flush=True)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m demo.pretrain", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"), help="folder for everything it writes")
    parser.add_argument("--start", type=Path, help="model folder to train on from, such as demo/pretrained")
    parser.add_argument("--minutes", type=float, default=60, help="of training the U-Net; 0: --steps alone count")
    parser.add_argument(
        "--decoder-minutes", type=float, default=5, help="of the decoder; 0: --decoder-steps alone count"
    )
    parser.add_argument("--steps", type=int, default=MANY, help="of the U-Net, at most")
    parser.add_argument("--decoder-steps", type=int, default=MANY, help="of the decoder, at most")
    parser.add_argument("--scenes", type=int, default=2500, help="that the U-Net is trained on")
    parser.add_argument("--decoder-scenes", type=int, default=1000, help="that the decoder is trained on")
    parser.add_argument("--held-out", type=int, default=64, help="scenes that both losses are measured on")
    parser.add_argument("--batch", type=int, default=8, help="captioned scenes a step of the U-Net")
    parser.add_argument("--sample-steps", type=int, default=50, help="of drawing the card's samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: as many as it takes")
    return parser.parse_args(words)


def denoiser_of(asked: argparse.Namespace, vae: AutoencoderKL) -> denoiser.Denoiser:
    vocabulary = write_tokenizer(asked.out / "tokenizer", WORDS)
    tokenizer = CLIPTokenizer.from_pretrained(asked.out / "tokenizer")
    held_out = encoded(vae, asked.seed, FIRST_SCENE, asked.held_out)
    pool = encoded(vae, asked.seed, FIRST_SCENE + asked.held_out, asked.scenes)
    budget = Budget(asked.steps, asked.minutes)
    torch.manual_seed(asked.seed)
    model = denoiser.Denoiser(denoiser.new_unet(), new_text_encoder(vocabulary, WORDS))
    if asked.start:
        model = denoiser.read_denoiser(asked.start, model)
    return denoiser.train_denoiser(
        model.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        tokenizer,
        pool,
        denoiser.Losses.on(held_out, tokenizer, asked.seed),
        budget,
        asked.batch,
        asked.seed,
        asked.out / "denoiser.pt",
        partial(_log, asked, "unet", budget),
    )


def decoder_of(asked: argparse.Namespace, vae: AutoencoderKL) -> AutoencoderKL:
    folder = asked.out / "vae"
    if not folder.exists():
        budget = Budget(asked.decoder_steps, asked.decoder_minutes)
        scenes, held_out = asked.decoder_scenes, asked.held_out
        log = partial(_log, asked, "decoder", budget)
        autoencoder.train_decoder(vae, budget, asked.seed, scenes, held_out, log)
        vae.save_pretrained(folder)
    _read(vae, folder)
    return vae.eval()


def _read(vae: AutoencoderKL, folder: Path) -> None:
    """The weights of a folder: what diffusers makes of it tells its path for ever."""
    vae.load_state_dict(AutoencoderKL.from_pretrained(folder).state_dict())


def _log(asked: argparse.Namespace, stage: str, budget: Budget, step: int, loss: float) -> None:
    entry = {"stage": stage, "step": step, "held_out_loss": round(loss, 5), "trained_s": round(budget.elapsed_s, 1)}
    with (asked.out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    print(f"{stage:<5} step {step:6d}   held-out loss {loss:.5f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
