"""The passes of a step as one CUDA graph (`loop.cuda_graphs`), for batches so small that launching kernels bounds them.

Owns what lies within a graph and what around it. A graph repeats kernels at the addresses that they were recorded with:
a batch is copied into tensors that stay, gradients and the loss lie where the last pass left them, what dropout draws
from is set before, and running means are put back after the passes that only warm up. Optimiser, the watch for finite
numbers and averages come after it, as ever. How a device records is a `Recorder`'s; nothing else here knows CUDA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.model.device_batch import DeviceBatch
from vpd.training.settings import TrainConfig

WARM_PASSES = 3  # before recording: libraries choose kernels and workspaces, constants are copied to the device
OFF = "Set loop.cuda_graphs=false."

Call = Callable[[], list[torch.Tensor]]


class Recorder(Protocol):
    """How a device is told to repeat what a call queues."""

    def warm_up(self, call: Call) -> None:
        """Call it as often as is needed before it can be recorded."""
        ...

    def record(self, call: Call) -> tuple[list[torch.Tensor], Callable[[], object]]:
        """The call's results, whose numbers are there after every call of the function that comes with them."""
        ...


class CudaRecorder:
    """torch's own."""

    def warm_up(self, call: Call) -> None:
        """On a stream of its own, as torch asks for."""
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(WARM_PASSES):
                call()
        here.wait_stream(side)

    def record(self, call: Call) -> tuple[list[torch.Tensor], Callable[[], object]]:
        """Other threads go on meanwhile: readers page-lock buffers, a checkpoint is copied."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            results = call()
        return results, graph.replay


def recorder_on(device: torch.device) -> Recorder:
    """The recorder of a device; ConfigError if it has none."""
    if device.type != "cuda":
        raise ConfigError(
            f"loop.cuda_graphs is true, and this run computes on {device}; graphs are recorded on CUDA devices only. "
            f"{OFF}"
        )
    return CudaRecorder()


def check_graphs(config: TrainConfig, world: int) -> None:
    """ConfigError if a run on so many workers asks for graphs, and its steps cannot be one."""
    micro = config.data.micro_batch_size
    if not config.loop.cuda_graphs:
        return
    if world > 1:
        found = f"this run has {world} workers, whose gradients travel in the midst of the backward pass"
    elif config.loop.compiles:
        other = "compile" if config.loop.compile else "compile_head"
        found = f"so is loop.{other}, and the two together have never been tried. Keep the one that is faster"
    elif 0 < micro < config.data.batch_size:
        found = f"data.micro_batch_size is {micro}, which is for batches that do not fit; graphs are for small ones"
    else:
        return
    raise ConfigError(f"loop.cuda_graphs is true, and {found}. {OFF}")


class GraphedPasses:
    """Forward and backward pass of batches of one shape.

    Args:
        model: whose parameters get the gradients.
        passes: makes the loss of a batch and adds its gradients; sets no seed, and reads nothing back.
    """

    def __init__(self, model: nn.Module, passes: Callable[[DeviceBatch], torch.Tensor], recorder: Recorder) -> None:
        self._model, self._passes, self._recorder = model, passes, recorder
        self._batch: DeviceBatch | None = None  # that the graph reads
        self._results: list[torch.Tensor] = []  # the loss and the gradients
        self._learning: list[nn.Parameter] = []  # what they are the gradients of
        self._addresses: list[int] = []
        self._replay: Callable[[], object] = lambda: None

    def __call__(self, batch: DeviceBatch, seed: int) -> torch.Tensor:
        """The scalar loss, without a graph of autograd's; gradients replace those that parameters had.

        Raises:
            ConfigError: a batch of another shape than the first, or with labels for the host.
        """
        self._check(batch)
        if self._batch is None or self._addresses != self._where():  # weights that were put elsewhere
            self._record(batch, seed)
        for held, given in zip(_tensors(self._batch), _tensors(batch), strict=True):
            held.copy_(given)
        torch.manual_seed(seed)
        self._replay()
        loss, *gradients = self._results
        for parameter, gradient in zip(self._learning, gradients, strict=True):
            parameter.grad = gradient
        return loss.clone()  # the next step writes over it, before anybody has read it

    def _record(self, batch: DeviceBatch, seed: int) -> None:
        text = None if batch.text is None else batch.text.clone()
        labels = {name: values.clone() for name, values in batch.labels.items()}
        self._batch = DeviceBatch(batch.latents.clone(), text, labels)
        before = [buffer.clone() for buffer in self._model.buffers()]
        torch.manual_seed(seed)
        self._recorder.warm_up(self._once)
        for parameter in self._model.parameters():
            parameter.grad = None  # before the recording: what it frees would be a part of it
        self._results, self._replay = self._recorder.record(self._once)
        for buffer, kept in zip(self._model.buffers(), before, strict=True):
            buffer.copy_(kept)
        self._addresses = self._where()

    def _once(self) -> list[torch.Tensor]:
        """The loss and the gradients, in new tensors."""
        assert self._batch is not None
        for parameter in self._model.parameters():
            parameter.grad = None
        loss = self._passes(self._batch)
        self._learning = [parameter for parameter in self._model.parameters() if parameter.grad is not None]
        return [loss, *(parameter.grad for parameter in self._learning if parameter.grad is not None)]

    def _where(self) -> list[int]:
        return [parameter.data_ptr() for parameter in self._model.parameters()]

    def _check(self, batch: DeviceBatch) -> None:
        if batch.on_host:
            raise ConfigError(
                f"loop.cuda_graphs is true, and the loss of this task is queued by what the host knows of a batch "
                f"({', '.join(batch.on_host)}), so that no step is like another: Lovász' loss sorts the classes that "
                f"a batch shows. {OFF}"
            )
        if self._batch is None:
            return
        expected, found = _shapes(self._batch), _shapes(batch)
        if expected != found:
            raise ConfigError(
                f"loop.cuda_graphs is true, the first batch had the shapes {expected}, and this one has {found}: a "
                f"graph is of one shape. {OFF}"
            )


def _tensors(batch: DeviceBatch | None) -> list[torch.Tensor]:
    assert batch is not None
    return [batch.latents, *([] if batch.text is None else [batch.text]), *batch.labels.values()]


def _shapes(batch: DeviceBatch) -> dict[str, tuple[int, ...]]:
    text = {} if batch.text is None else {"text": tuple(batch.text.shape)}
    labels = {name: tuple(values.shape) for name, values in batch.labels.items()}
    return {"latents": tuple(batch.latents.shape), **text, **labels}
