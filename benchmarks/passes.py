"""What recurrent refinement costs: K = 3 passes of the UNet against one, in operations, seconds and memory.

    python -m benchmarks.passes            # counts at full size, then steps on the CPU or, where there is one, the GPU
    python -m benchmarks.passes --count    # the counts alone; exit status 1 if the time bar would be missed

Meta Prompts on depth (docs/methods/meta_prompts.md#passes): 50 prompts for each pass, gradients through all passes.
Operations are counted, and the activations that backward needs are added up, on shapes alone at the size of Stable
Diffusion 1.5 for a 512 x 512 view; steps are timed interleaved. The bar: three passes within 3.2 times the time of one
(docs/methods/performance.md#bars).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import torch

from benchmarks.counting import count_step
from benchmarks.networks import build, loss_of, made_up

PASSES = (1, 3)
BAR = 3.2


def count(passes: int, **options: Any) -> tuple[float, float]:
    """(GFLOP forward and backward, GB kept for backward) of one 512 x 512 view in float32, at full size."""
    counted = count_step("prompts", passes=passes, **options)
    return counted.step_gflop, counted.kept_gb


def report_counts() -> bool:
    """Print both counts; True if three passes are within the bar in operations."""
    print("Meta Prompts depth, one 512 x 512 view, SD 1.5 size, float32    GFLOP/step   activations")
    counts = {passes: count(passes) for passes in PASSES}
    for passes, (gflop, gigabytes) in counts.items():
        print(
            f"  K = {passes}                                                       {gflop:9.1f}   {gigabytes:8.2f} GB"
        )
    _, recomputed = count(PASSES[-1], gradient_checkpointing=True)
    print(f"  K = {PASSES[-1]}, gradient_checkpointing                                            {recomputed:8.2f} GB")
    ratio = counts[3][0] / counts[1][0]
    print(f"  three passes are x{ratio:.2f} the operations of one (bar {BAR}): {'ok' if ratio <= BAR else 'MISSED'}")
    return ratio <= BAR


def measure(device: str, width: int, latent_side: int, size: int, rounds: int = 5) -> None:
    """Median seconds of a step for each K, interleaved, and on a GPU its peak memory."""
    models = {passes: build("prompts", width, passes=passes) for passes in PASSES}
    seconds: dict[int, list[float]] = {passes: [] for passes in PASSES}
    memory: dict[int, float] = {}
    on_gpu = device == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time  # CPU seconds: other people share the cores
    for turn in range(rounds + 1):
        for passes, (model, task) in models.items():
            model.to(device)
            batch = made_up("prompts", model, size, latent_side, device)
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            started = clock()
            with torch.autocast(device, torch.bfloat16, enabled=on_gpu):
                loss = loss_of(model, task, batch)
            loss.backward()
            if on_gpu:
                torch.cuda.synchronize()
                memory[passes] = torch.cuda.max_memory_allocated() / 1e9
            if turn:  # the first round warms up
                seconds[passes].append(clock() - started)
            model.zero_grad(set_to_none=True)
    print(f"{device}, width {width}, latent {latent_side}, B={size}, {rounds} interleaved rounds, forward + backward")
    base = statistics.median(seconds[1])
    for passes, times in seconds.items():
        median = statistics.median(times)
        peak = f"   peak {memory[passes]:.1f} GB (both models in memory)" if passes in memory else ""
        print(f"  K = {passes}  {median:7.3f} s  ({min(times):.3f}-{max(times):.3f})   x{median / base:.2f}{peak}")


def main() -> int:
    """Run what this machine can; 1 if the counts miss the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count operations and activations only")
    only_count = parser.parse_args().count
    ok = report_counts()
    if not only_count and torch.cuda.is_available():
        measure("cuda", width=320, latent_side=64, size=8)
    elif not only_count:
        measure("cpu", width=160, latent_side=32, size=1)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
