"""How fast a device computes: steps of every task and regime, the published step, the encoders, the machine's ceilings.

Owns what is measured and how: random weights and inputs, medians of rounds that each end with the device idle, the
peak of allocated memory beside them. Whether the results are right is `benchmarks.gpu_checks`'.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.counting import BARS_GFLOP
from benchmarks.networks import TOKENS, VAE, build, loss_of, made_up
from benchmarks.published import PublishedStep, clip_shape, published_numerics
from tests.graph_recorder import Again
from vpd.model.device_batch import DeviceBatch
from vpd.model.settings import ModelConfig
from vpd.training.settings import OptimConfig
from vpd.training.step.graphs import GraphedPasses, recorder_on
from vpd.training.step.numerics import arithmetic_of, autocast_of
from vpd.training.step.optim import build_optimizer, named_groups


@dataclass(frozen=True)
class Size:
    """How large everything is, and how often it is repeated."""

    width: int = 320
    latent_side: int = 64
    batches: tuple[int, int, int] = (4, 16, 32)  # small, middle, large
    published: tuple[int, ...] = (8, 4)  # largest first: the first that fits is kept
    encoded: int = 16
    matrix: int = 8192
    copied_mb: int = 2048
    warm: int = 3
    rounds: int = 3
    calls: int = 5


FULL = Size()
REHEARSAL = Size(
    width=32,
    latent_side=8,
    batches=(2, 2, 2),
    published=(2,),
    encoded=1,
    matrix=64,
    copied_mb=1,
    warm=1,
    rounds=1,
    calls=1,
)
Row = dict[str, Any]


def rates(size: Size, device: torch.device) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Names and measurements, the most telling first; each frees what it used."""
    small, middle, large = size.batches
    yield "matmul, bfloat16", lambda: _matmul(size, device)
    yield "copy", lambda: _copy(size, device)
    for name, batch in (("refer", large), ("refer", small), ("seg", middle), ("depth", middle), ("refer", middle)):
        yield f"{name} step, eager", lambda name=name, batch=batch: _step(size, device, name, batch)
    for regime in (ModelConfig(train="head"), ModelConfig(train="lora")):
        yield f"refer step, {regime.train}", lambda regime=regime: _step(size, device, "refer", large, regime=regime)
    yield "refer step, published", lambda: _published(size, device)
    for name, batch in (("refer", large), ("refer", small), ("seg", middle), ("depth", middle)):
        yield (
            f"{name} step, compiled, channels_last",
            lambda name=name, batch=batch: _step(size, device, name, batch, compiled=True, channels_last=True),
        )
    yield "refer step, CUDA graph", lambda: _step(size, device, "refer", small, graphed=True)
    yield "refer step, channels_last", lambda: _step(size, device, "refer", large, channels_last=True)
    for name in ("seg", "depth"):
        yield (
            f"{name} step, compiled with head, channels_last",
            lambda name=name: _step(size, device, name, middle, compiled=True, head_too=True, channels_last=True),
        )
    yield "refer forward", lambda: _forward(size, device, large)
    for dtype in (torch.float32, torch.float16):
        for layout in (False, True):
            yield "VAE encode", lambda dtype=dtype, layout=layout: _vae(size, device, dtype, channels_last=layout)
    yield "CLIP encode", lambda: _clip(size, device)
    for name, batch in (("seg", small), ("depth", large), ("seg", large)):
        yield f"{name} step, eager", lambda name=name, batch=batch: _step(size, device, name, batch)


def freed(device: torch.device) -> None:
    """Give back what the last measurement held on a card."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _step(
    size: Size,
    device: torch.device,
    name: str,
    batch: int,
    *,
    regime: ModelConfig | None = None,
    compiled: bool = False,
    head_too: bool = False,
    channels_last: bool = False,
    graphed: bool = False,
) -> Row:
    """A training step in the precision of `auto` with fused AdamW, the batch on the device."""
    model, task = build(name, size.width, device.type, regime)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if compiled:
        model.compile_blocks()
    if head_too:
        model.compile_head()
    settings = OptimConfig()
    optimizer = build_optimizer(named_groups(model, settings), settings)
    samples = made_up(name, model, batch, size.latent_side, device.type)

    def passes(batch: DeviceBatch) -> torch.Tensor:
        with autocast_of("auto", device)():
            loss = loss_of(model, task, batch)
        loss.backward()
        return loss.detach()

    replayed = GraphedPasses(model, passes, Again() if device.type == "cpu" else recorder_on(device))

    def step() -> None:
        if graphed:
            replayed(samples, 0)
        else:
            passes(samples)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with arithmetic_of("auto"):
        row = _timed(size, device, step, batch) | {"batch": batch}
    if size == FULL and regime is None:
        row["tflops"] = round(row["per_s"] * BARS_GFLOP[name] / 1e3, 1)
    return row


def _forward(size: Size, device: torch.device, batch: int) -> Row:
    model, task = build("refer", size.width, device.type)
    samples = made_up("refer", model.eval(), batch, size.latent_side, device.type)

    @torch.inference_mode()
    def forward() -> None:
        with autocast_of("auto", device)():
            model(samples.latents, task.context(samples), task.out_size_px(samples))

    return _timed(size, device, forward, batch) | {"batch": batch}


def _published(size: Size, device: torch.device) -> Row:
    """The published step at the largest batch that fits, with the same optimiser."""
    model = PublishedStep(size.width, device.type)
    settings = OptimConfig()
    optimizer = build_optimizer(named_groups(model.network, settings), settings)
    for batch in size.published:
        inputs = model.inputs(batch, size.latent_side, device.type)

        def step(inputs: tuple[torch.Tensor, ...] = inputs) -> None:
            model.step(inputs)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        try:
            with published_numerics():
                return _timed(size, device, step, batch) | {"batch": batch}
        except torch.OutOfMemoryError:
            optimizer.zero_grad(set_to_none=True)
            freed(device)
    return {"error": f"does not fit at batches {list(size.published)}"}


def _vae(size: Size, device: torch.device, dtype: torch.dtype, *, channels_last: bool) -> Row:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    widths = tuple(max(32, width * size.width // 320 // 32 * 32) for width in VAE["block_out_channels"])
    with torch.device(device):
        shape: dict[str, Any] = VAE | {"block_out_channels": widths}
        vae: Any = AutoencoderKL(**shape).eval()
        vae.to(dtype)
        pixels = torch.rand(size.encoded, 3, size.latent_side * 8, size.latent_side * 8).to(dtype) * 2 - 1
    if channels_last:
        vae.to(memory_format=torch.channels_last)
        pixels = pixels.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode() -> None:
        vae.encode(pixels).latent_dist.mode()

    with arithmetic_of("tf32"):
        row = _timed(size, device, encode, size.encoded)
    return row | {
        "batch": size.encoded,
        "dtype": "tf32" if dtype == torch.float32 else str(dtype)[6:],
        "channels_last": channels_last,
    }


def _clip(size: Size, device: torch.device) -> Row:
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    sentences = 4 * size.encoded
    with torch.device(device):
        clip: Any = CLIPTextModel(CLIPTextConfig(**clip_shape(size.width), max_position_embeddings=TOKENS)).eval()
        tokens = torch.zeros(sentences, TOKENS, dtype=torch.int64)

    @torch.inference_mode()
    def encode() -> None:
        clip(input_ids=tokens)

    return _timed(size, device, encode, sentences) | {"batch": sentences}


def _matmul(size: Size, device: torch.device) -> Row:
    side = size.matrix
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    row = _timed(size, device, lambda: one @ one, 1)
    return row | {"tflops": round(2 * side**3 * row["per_s"] / 1e12, 3)}


def _copy(size: Size, device: torch.device) -> Row:
    one = torch.empty(size.copied_mb << 20, dtype=torch.uint8, device=device)
    other = torch.empty_like(one)
    row = _timed(size, device, lambda: other.copy_(one), 1)
    return row | {"tb_per_s": round(2 * one.nbytes * row["per_s"] / 1e12, 4)}  # read and written


def _timed(size: Size, device: torch.device, call: Callable[[], object], items: int) -> Row:
    """Items a second, seconds of the first call (compiling, choosing kernels), and peak memory."""
    started = time.perf_counter()
    call()
    _idle(device)
    first_s = time.perf_counter() - started
    for _ in range(size.warm - 1):
        call()
    seconds = []
    for _ in range(size.rounds):
        _idle(device)
        started = time.perf_counter()
        for _ in range(size.calls):
            call()
        _idle(device)
        seconds.append((time.perf_counter() - started) / size.calls)
    row: Row = {"per_s": round(items / statistics.median(seconds), 3), "first_s": round(first_s, 2)}
    row["spread"] = round(max(seconds) / min(seconds) - 1, 3)
    if device.type == "cuda":
        row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return row


def _idle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
