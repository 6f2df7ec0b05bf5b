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
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.counting import FUSED_ATTENTION
from benchmarks.networks import SD15
from diffusion_perception.assemble import build_head
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.settings import PromptConfig
from vpd.tasks.depth import task as depth

PASSES = (1, 3)
BAR = 3.2
SHOWN_PX = 480  # of a 512 x 512 view


def build(passes: int, width: int = 320, **options: Any) -> tuple[Perception, depth.DepthTask]:
    """The depth model with random weights: SD 1.5 with its 320 base channels replaced by `width`."""
    scale = width / 320
    config = SD15 | {
        "block_out_channels": tuple(int(c * scale) for c in SD15["block_out_channels"]),
        "cross_attention_dim": int(48 * scale) * 16,  # a multiple of the groups of the head's norms
    }
    prompts = PromptConfig(count=50, passes=passes)
    backbone = SdUnet.from_config(config, attention_maps="", timestep=None, output_head=passes > 1, **options)
    task = depth.build(view_fit="enlarged")
    return Perception.conditioned(backbone, build_head(task, backbone.spec(50), name="prompt_depth"), prompts), task


def batch_of(size: int, latent_side: int, device: str = "cpu") -> DeviceBatch:
    """Random latents and depth, a sixteenth smaller than the view, as 480 is in 512."""
    side = latent_side * 8 * SHOWN_PX // 512
    latents = torch.randn(size, 4, latent_side, latent_side, device=device)
    return DeviceBatch(latents, None, {"depth": torch.rand(size, side, side, device=device) + 0.5})


def loss_of(model: Perception, task: depth.DepthTask, batch: DeviceBatch) -> torch.Tensor:
    """Forward pass and loss, as the training loop does them."""
    return task.loss(model(batch.latents, None, task.out_size_px(batch)), batch)


def count(passes: int, **options: Any) -> tuple[float, float]:
    """(GFLOP forward and backward, GB kept for backward) of one 512 x 512 view in float32, at full size."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with FakeTensorMode():
        model, task = build(passes, **options)
        weights = {id(parameter) for parameter in model.parameters()}
        batch = batch_of(1, 64)
        counter = FlopCounterMode(display=False, custom_mapping=FUSED_ATTENTION)
        with counter:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = loss_of(model, task, batch)
            loss.backward()
    return counter.get_total_flops() / 1e9, sum(kept.values()) / 1e9


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
    models = {passes: build(passes, width) for passes in PASSES}
    seconds: dict[int, list[float]] = {passes: [] for passes in PASSES}
    memory: dict[int, float] = {}
    on_gpu = device == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time  # CPU seconds: other people share the cores
    for turn in range(rounds + 1):
        for passes, (model, task) in models.items():
            model.to(device)
            batch = batch_of(size, latent_side, device)
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
