"""What a training step costs: operations counted anywhere, and on the CPU beside the step as it was published.

    python -m benchmarks.step              # counts at full size, then ours, head, LoRA and published, interleaved
    python -m benchmarks.step --count      # the counts alone; exit status 1 if one misses its bar
    python -m benchmarks.step --latent 64  # the comparison on larger latents

Owns the bars of docs/methods/performance.md#bars for a step and for the ratio to the published one. A GPU's speed is
`benchmarks.gpu`'s.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.counting import BARS_GFLOP, NAIVE_SIDE, SLACK, count_step
from benchmarks.networks import build, loss_of, made_up
from benchmarks.published import PublishedStep
from vpd.model.settings import ModelConfig
from vpd.training.activations import saving_into

REGIMES = {"full": ModelConfig(), "head": ModelConfig(train="head"), "lora": ModelConfig(train="lora")}
BARS = {32: {"ours": 0.30, "head": 0.15}, 64: {"ours": 0.15, "head": 0.08}}  # of the published step's CPU seconds


def report_counts() -> bool:
    """Print what an image costs each task under each regime; True if all of it is learned within its bar."""
    print("GFLOP of an image at SD 1.5's size, 512 x 512, latents given; forward and backward")
    print(f"  {'':<8}{'forward':>10}{'full':>10}{'head':>10}{'lora':>10}{'bar, full':>12}")
    ok = True
    for name, bar in BARS_GFLOP.items():
        counts = {regime: count_step(name, regime=config) for regime, config in REGIMES.items()}
        full, squares = counts["full"]
        holds = full["step"] <= bar * SLACK and not squares
        ok &= holds
        steps = "".join(f"{count['step']:10.1f}" for count, _ in counts.values())
        print(f"  {name:<8}{full['forward']:10.1f}{steps}{bar:12.1f}  {'ok' if holds else 'MISSED'}")
        if squares:
            print(f"    attention squares with N >= {NAIVE_SIDE}: {sorted(squares)}")
    return ok


def compare(width: int, latent_side: int, rounds: int, samples: int = 2) -> None:
    """Median CPU seconds of a refer step, variants interleaved, and the bytes each keeps for backward."""
    ours, task = build("refer", width)
    plain, _ = build("refer", width, attention_maps="")
    published = PublishedStep(width).with_weights_of(ours)
    steps: dict[str, tuple[nn.Module, Callable[[], object]]] = {}
    for name, model in {
        "ours": ours,
        "ours, no maps": plain,
        "head": build("refer", width, regime=REGIMES["head"])[0],
        "lora": build("refer", width, regime=REGIMES["lora"])[0],
    }.items():
        batch = made_up("refer", model, samples, latent_side)
        steps[name] = model, lambda model=model, batch=batch: loss_of(model, task, batch).backward()
    inputs = published.inputs(samples, latent_side)
    steps["published"] = published, lambda: published.step(inputs)

    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, (model, step) in steps.items():
            gc.collect()
            started = time.process_time()
            step()
            if turn:  # the first round warms up
                seconds[name].append(time.process_time() - started)
            model.zero_grad(set_to_none=True)
    base = statistics.median(seconds["published"])
    print(f"CPU, refer, width {width}, latent {latent_side}, B={samples}, {rounds} interleaved rounds")
    for name, times in seconds.items():
        bar = BARS.get(latent_side, {}).get(name)
        held = _kept_gb(*steps[name])
        print(
            f"  {name:<16} {statistics.median(times):7.3f} s  ({min(times):.3f}-{max(times):.3f})   x"
            f"{statistics.median(times) / base:.3f} of published{'' if bar is None else f' (bar {bar:.2f})'}, "
            f"kept for backward {held:.2f} GB"
        )


def _kept_gb(model: nn.Module, step: Callable[[], object]) -> float:
    """What autograd saves in a step besides weights; of a recomputed layer, its inputs and one layer at a time."""
    saved: dict[int, torch.Tensor] = {}
    with saving_into(saved):
        step()
    model.zero_grad(set_to_none=True)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = (tensor.untyped_storage() for tensor in saved.values())
    return sum(storage.nbytes() for storage in kept if storage.data_ptr() not in weights) / 1e9


def main() -> int:
    """Count, then compare; 1 if a count misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count operations only")
    parser.add_argument("--width", type=int, default=64, help="base channels of the UNet in the comparison")
    parser.add_argument("--latent", type=int, default=32, help="side of its latents")
    parser.add_argument("--rounds", type=int, default=7, help="of the comparison")
    options = parser.parse_args()
    ok = report_counts()
    if not options.count:
        compare(options.width, options.latent, options.rounds)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
