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
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.counting import BARS_GFLOP, NAIVE_SIDE, SLACK, count_step
from benchmarks.networks import build, knowing_features, loss_of, made_up
from benchmarks.published import PublishedStep
from vpd.model.settings import ModelConfig

REGIMES = {"full": ModelConfig(), "head": ModelConfig(train="head"), "lora": ModelConfig(train="lora")}
KNOWN = "head, known"  # features of samples that came before
VARIANTS = ("ours", "no maps", "head", KNOWN, "lora", "published")
BARS = {32: {"ours": 0.30, "head": 0.15}, 64: {"ours": 0.15, "head": 0.08}}  # of the published step's CPU seconds


def report_counts() -> bool:
    """Print what an image costs each task under each regime; True if all of it is learned within its bar."""
    print("GFLOP of an image at SD 1.5's size, 512 x 512, latents given; forward and backward")
    print(f"  {'':<8}{'forward':>10}{'full':>10}{'head':>10}{'lora':>10}{KNOWN:>13}{'bar, full':>12}")
    ok = True
    for name, bar in BARS_GFLOP.items():
        counts = {regime: count_step(name, regime=config) for regime, config in REGIMES.items()}
        full = counts["full"]
        holds = full.step_gflop <= bar * SLACK and not full.squares
        ok &= holds
        steps = "".join(f"{count.step_gflop:10.1f}" for count in counts.values())
        known = count_step(name, regime=REGIMES["head"], known=True).step_gflop
        print(f"  {name:<8}{full.forward_gflop:10.1f}{steps}{known:13.1f}{bar:12.1f}  {'ok' if holds else 'MISSED'}")
        if full.squares:
            print(f"    attention squares with N >= {NAIVE_SIDE}: {sorted(full.squares)}")
    return ok


def variant(name: str, width: int, latent_side: int, samples: int = 2) -> tuple[Any, Callable[[], object]]:
    """A network and its step: `published`, `ours`, `no maps`, or ours under a regime, KNOWN among them."""
    if name == "published":
        published = PublishedStep(width)
        inputs = published.inputs(samples, latent_side)
        return published, lambda: published.step(inputs)
    options: dict[str, Any] = {"attention_maps": ""} if name == "no maps" else {}
    model, task = build("refer", width, regime=REGIMES.get(name.partition(",")[0]), **options)
    batch = made_up("refer", model, samples, latent_side)
    batch = knowing_features(model, task, batch) if name == KNOWN else batch
    return model, lambda: loss_of(model, task, batch).backward()


def compare(width: int, latent_side: int, rounds: int) -> None:
    """Median CPU seconds of a refer step, variants interleaved, and how far each raises a process's memory."""
    variants = {name: variant(name, width, latent_side) for name in VARIANTS}
    variants["published"][0].with_weights_of(variants["ours"][0])
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, (model, step) in variants.items():
            gc.collect()
            started = time.process_time()
            step()
            if turn:  # the first round warms up
                seconds[name].append(time.process_time() - started)
            model.zero_grad(set_to_none=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as apart:
        raised = {name: apart.submit(raised_gb, name, width, latent_side).result() for name in VARIANTS}
    base, most = statistics.median(seconds["published"]), raised["published"]
    print(f"CPU, refer, width {width}, latent {latent_side}, B=2, {rounds} interleaved rounds")
    for name, times in seconds.items():
        median, bar = statistics.median(times), BARS.get(latent_side, {}).get(name)
        print(
            f"  {name:<12} {median:7.3f} s  ({min(times):.3f}-{max(times):.3f})   x{median / base:.3f} of published"
            f"{'' if bar is None else f' (bar {bar:.2f})'}   memory {raised[name]:.2f} GB, x{raised[name] / most:.2f}"
        )


def raised_gb(name: str, width: int, latent_side: int) -> float:
    """How far one step raises the peak of this process's memory over what network and inputs take."""
    _, step = variant(name, width, latent_side)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    before = _kib("VmRSS")
    step()
    return (_kib("VmHWM") - before) * 1024 / 1e9


def _kib(name: str) -> int:
    """A line of this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


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
