"""How much of the bare network's speed is left when features are asked for, and when they are baked?

    python -m benchmarks.features --views 16 --rounds 3

A small random UNet of Stable Diffusion 1.5's shape, float32 on the CPU, one thread, latents of 64 x 64, batches of 8,
the layer `up_blocks.2`. The candidates take turns, all views each; a line a round says how far it is. Figures are
medians over rounds of the process's CPU time, which other work on the machine disturbs less than wall-clock time;
`--wall` takes the latter. Shares are medians of the rounds' own.

    bare      the network's own forward with one hook on the layer, on tensors that are there, cut off behind the layer
    Features  the public object on the same latents
    bake      a set of the same latents to a set of features on disk: read, hashed, synced, sealed; model loaded before

"of bare" divides bare's time of a round by a candidate's, "of Features" likewise; both are to be at least 0.9.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.tiny_sd import write_tiny_sd
from diffusion_perception.baking.bake import bake, run_here
from diffusion_perception.baking.baker import Baker, kind_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.features.reading import Features
from shards import Field, Record, Schema, seal_set, write_shard

LAYER, BATCH, SIDE = "up_blocks.2", 8, 64
WIDTHS = (64, 128, 128, 128)


class _Read(Exception):
    """Ends a bare pass behind the layer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wall", action="store_true", help="wall-clock time in place of CPU time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.perf_counter if arguments.wall else time.process_time
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_tiny_sd(root / "model", widths=WIDTHS, layers=2)
        features = Features.from_pretrained(str(root / "model"), device="cpu")
        latents = torch.from_numpy(_write_set(root / "set", arguments.views)).float()  # [N, 4, 64, 64]
        candidates: dict[str, Callable[[], object]] = {
            "bare": partial(_bare, features, latents),
            "Features": partial(features, latents=latents, layers=[LAYER], batch_size=BATCH),
            "bake": partial(_baked, features, root),
        }
        times_s: dict[str, list[float]] = {name: [] for name in candidates}
        for round_number in range(arguments.rounds + 1):
            for name, run in candidates.items():
                started_s = clock()
                run()
                times_s[name].append(clock() - started_s)
            said = ", ".join(f"{name} {found[-1]:.2f} s" for name, found in times_s.items())
            print(
                f"round {round_number} of {arguments.rounds}{'' if round_number else ' (warms up)'}: {said}", flush=True
            )
    rounds = {name: found[1:] for name, found in times_s.items()}
    print(f"{'':<10}{'views/s':>9}{'of bare':>9}{'of Features':>13}")
    for name, found in rounds.items():
        shares = [
            statistics.median(one / own for one, own in zip(rounds[other], found, strict=True))
            for other in ("bare", "Features")
        ]
        rate = arguments.views / statistics.median(found)
        print(f"{name:<10}{rate:>9.2f}{shares[0]:>9.3f}{shares[1]:>13.3f}", flush=True)


@torch.no_grad()
def _bare(features: Features, latents: torch.Tensor) -> torch.Tensor:
    found: list[torch.Tensor] = []

    def keep(module: Any, given: Any, output: torch.Tensor) -> None:
        found.append(output)
        raise _Read

    text = features.family.conditions([""], (8 * SIDE, 8 * SIDE))["encoder_hidden_states"]
    scale = features.pipeline.vae.config["scaling_factor"]
    hook = features.network.get_submodule(LAYER).register_forward_hook(keep)
    try:
        for part in latents.split(BATCH):
            with contextlib.suppress(_Read):
                features.network(part * scale, 1, text.expand(len(part), -1, -1))
    finally:
        hook.remove()
    return torch.cat(found)


def _baked(features: Features, root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root) as out, contextlib.redirect_stdout(io.StringIO()):
        job = BakeJob("toy", f"{out}/baked", (LAYER,), str(root / "set"), batch_size=BATCH)
        baker = Baker(job)
        vars(baker)["features"] = features
        vars(baker)["recipe"] = {"source": "toy"}  # hashing the weights is of a start, not of a view
        bake(kind_of(job), job, baker.described(), partial(run_here, baker))


def _write_set(folder: Path, views: int) -> np.ndarray:
    latents = np.random.default_rng(0).standard_normal((views, 4, SIDE, SIDE)).astype(np.float16)
    schema = Schema((Field("latent", "npy", "float16", ("V", 4, SIDE, SIDE), "view"), Field("meta", "json")), "view")
    records = (Record(f"p{n:04d}", {"latent": latents[n : n + 1], "meta": _meta()}) for n in range(views))
    shard = write_shard(folder, "set-000000", schema, records)
    recipe: dict[str, Any] = {"source": {"name": "toy"}}
    seal_set(folder, name="set", split="train", recipe=recipe, schema=schema, shards=[shard])
    return latents


def _meta() -> dict[str, Any]:
    return {"items": [[0, 1]], "views": [{}]}


if __name__ == "__main__":
    main()
