"""What a refer training step costs: exact FLOPs anywhere, a naive-attention comparison on CPU, img/s on a GPU.

    python -m benchmarks.step              # count, then the CPU comparison or, where there is one, the GPU
    python -m benchmarks.step --count      # the count alone; exit status 1 if it misses a bar

Owns the bars of docs/methods/performance.md#bars for this step. FLOPs are algorithmic (multiply and add are two; the
product that a fused attention kernel repeats in backward is not counted), so that they compare across kernels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from diffusion_perception.assemble import build_head
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter
from vpd.tasks.refer import task as refer
from vpd.training.optim import build_optimizer, named_groups
from vpd.training.settings import OptimConfig

SD15 = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
TOKENS = 40
STEP_GFLOP = 2725.0  # refer at 512 x 512, latents given: D1 of docs/methods/performance.md#bars
SLACK = 1.001
PEAK_TFLOPS = 790.0  # bf16 of one H200 (docs/methods/performance.md#machine-rates)
GATES = {"refer step B=32, img/s": 110.0, "VAE encode fp16, img/s": 280.0, "peak memory B=32, GB": 60.0}
NAIVE_SIDE = 1024  # an attention square [B, heads, N, N] with N this large or larger must never exist

_ATEN = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    batch, heads, pixels, channels = query
    return 2 * batch * heads * pixels * key[-2] * (channels + value[-1])


def _attention_backward(_grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return 2 * _attention(query, key, value)


FUSED_ATTENTION = {  # operations of the CPU's fused kernels, which torch's counter does not know
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def build(width: int = 320, device: str = "cpu", **options: Any) -> tuple[Perception, refer.ReferTask]:
    """The refer model with random weights: SD 1.5 with its 320 base channels replaced by `width`."""
    scale = width / 320
    config = SD15 | {
        "block_out_channels": tuple(int(c * scale) for c in SD15["block_out_channels"]),
        "cross_attention_dim": int(768 * scale),
    }
    with torch.device(device):
        task = refer.build()
        backbone = SdUnet.from_config(config, **options)
        head = build_head(task, backbone.spec(TOKENS))
        return Perception(backbone, TextAdapter(backbone.context_width), head), task


def fake_batch(model: Perception, batch: int, latent_side: int, device: str = "cpu") -> DeviceBatch:
    """Random latents, text states and masks."""
    side = latent_side * 8
    latents = torch.randn(batch, 4, latent_side, latent_side, device=device)
    text = torch.randn(batch, TOKENS, model.backbone.context_width, device=device)
    mask = torch.zeros(batch, side, side, dtype=torch.uint8, device=device)
    return DeviceBatch(latents, text, {"mask": mask})


def loss_of(model: Perception, task: refer.ReferTask, batch: DeviceBatch) -> torch.Tensor:
    """Forward pass and loss, as the training loop does them."""
    return task.loss(model(batch.latents, task.context(batch), task.out_size_px(batch)), batch)


class AttentionSquares(TorchDispatchMode):
    """Collects the shapes of materialised attention matrices: `[B, heads, N, N]` or `[B * heads, N, N]`, N large."""

    def __init__(self, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.found: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if not isinstance(x, torch.Tensor) or x.ndim not in (3, 4) or x.shape[-3] < self.heads:
                continue  # fewer "heads" than heads: activations [1, N, C] with as many channels as pixels
            if x.shape[-1] == x.shape[-2] >= NAIVE_SIDE:
                self.found.add(tuple(x.shape))
        return out


def count_step(
    width: int = 320, latent_side: int = 64, **options: Any
) -> tuple[dict[str, float], set[tuple[int, ...]]]:
    """GFLOP of one image, forward and forward + backward, and the attention squares met; runs on shapes alone.

    Args:
        width: base channels of the UNet; 320 is SD 1.5.
        latent_side: 64 is a 512 x 512 image.
        options: of `SdUnet`.
    """
    # Fake CPU tensors choose the kernels that real ones would; on the meta device attention decomposes.
    with FakeTensorMode():
        model, task = build(width, **options)
        batch = fake_batch(model, 1, latent_side)
        counter = FlopCounterMode(display=False, custom_mapping=FUSED_ATTENTION)
        squares = AttentionSquares()
        with squares, counter:
            loss = loss_of(model, task, batch)
            forward = counter.get_total_flops()
            loss.backward()
        total = counter.get_total_flops()
    return {"forward": forward / 1e9, "step": total / 1e9}, squares.found


def report_count() -> bool:
    """Print the count at full size against its bar; True if it holds."""
    flops, squares = count_step()
    ok = flops["step"] <= STEP_GFLOP * SLACK and not squares
    print("refer, 512 x 512, T=40, SD 1.5 size, latents given      GFLOP/img        bar")
    print(f"  forward                                               {flops['forward']:9.1f}")
    print(f"  forward + backward                                    {flops['step']:9.1f}  {STEP_GFLOP:9.1f}")
    print(f"  attention squares with N >= {NAIVE_SIDE}: {sorted(squares) or 'none'}")
    print(f"  {'ok' if ok else 'MISSED'}")
    return ok


class NaiveAttention:
    """Attention as the published code writes it: every probability matrix in memory, nothing kept aside."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        maps: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        projected = (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in projected)
        probabilities = (query @ key.transpose(-1, -2) * attn.scale).softmax(-1)
        if maps is not None and encoder_hidden_states is not None:
            maps.append(probabilities.detach().mean(1))
        return attn.to_out[0]((probabilities @ value).transpose(1, 2).flatten(2))


def compare_on_cpu(width: int = 64, latent_side: int = 32, rounds: int = 7) -> None:
    """Median CPU seconds of a step, variants interleaved: ours, ours without maps, naive attention."""
    ours, task = build(width)
    plain, _ = build(width, attention_maps="")
    naive, _ = build(width)
    naive.backbone.unet.set_attn_processor(NaiveAttention())
    naive.load_state_dict(ours.state_dict())
    models = {"ours": ours, "ours, no maps": plain, "naive attention": naive}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name, model in models.items():
            batch = fake_batch(model, 2, latent_side)
            started = time.process_time()
            loss_of(model, task, batch).backward()
            if turn:  # the first round warms up
                seconds[name].append(time.process_time() - started)
            model.zero_grad(set_to_none=True)
    base = statistics.median(seconds["ours"])
    print(f"CPU, width {width}, latent {latent_side}, B=2, {rounds} interleaved rounds, forward + backward")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"  {name:<16} {median:7.3f} s  ({min(times):.3f}-{max(times):.3f})   x{median / base:.2f} of ours")


def measure_steps(batches: tuple[int, ...] = (4, 16, 32)) -> None:
    """img/s and peak memory of the refer step in bf16 autocast, at full size with random weights."""
    model, task = build(device="cuda")
    settings = OptimConfig()
    optimizer = build_optimizer(named_groups(model, settings), settings)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; gates of docs/methods/performance.md: {GATES}")
    for size in batches:
        batch = fake_batch(model, size, 64, "cuda")

        def step(batch: DeviceBatch = batch) -> None:
            with torch.autocast("cuda", torch.bfloat16):
                loss = loss_of(model, task, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        torch.cuda.reset_peak_memory_stats()
        rate = size / _seconds(step)
        memory = torch.cuda.max_memory_allocated() / 1e9
        mfu = rate * STEP_GFLOP / 1e3 / PEAK_TFLOPS
        print(f"  refer step bf16  B={size:<3} {rate:7.1f} img/s  {mfu:5.1%} of peak  {memory:6.1f} GB")


def measure_vae(size: int = 16) -> None:
    """img/s of the VAE encoder at 512 x 512 in TF32 and float16."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    with torch.device("cuda"):
        vae: Any = AutoencoderKL(**VAE).eval()
    for name, dtype in (("TF32", torch.float32), ("fp16", torch.float16)):
        vae.to(dtype)
        pixels = torch.rand(size, 3, 512, 512, device="cuda", dtype=dtype) * 2 - 1
        with torch.inference_mode():
            rate = size / _seconds(lambda x=pixels: vae.encode(x).latent_dist.mode())
        print(f"  VAE encode {name}  B={size:<3} {rate:7.1f} img/s")


def _seconds(step: Callable[[], object], warm: int = 5, rounds: int = 3, steps: int = 10) -> float:
    """Median seconds of a call, each round timed between two synchronisations."""
    for _ in range(warm):
        step()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - started) / steps)
    return statistics.median(times)


def main() -> int:
    """Run what this machine can; 1 if the count misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count FLOPs only")
    only_count = parser.parse_args().count
    ok = report_count()
    if not only_count:
        if torch.cuda.is_available():
            measure_steps()
            measure_vae()
        else:
            compare_on_cpu()
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
