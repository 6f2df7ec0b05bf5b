"""Whether training on a device does what it does on the CPU: tiny networks, every task, every switch.

Owns the checks and their tolerances. Each trains on the toy sets of the tests through `diffusion_perception.train`,
so what is checked is what a run does; how fast it is is `benchmarks.gpu_rates`'.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from diffusion_perception import Predictor, bind, load_trained, train
from diffusion_perception.settings import replaced, to_plain
from diffusion_perception.train_job import TrainJob
from diffusion_perception.trained import Trained
from shards.reading.reader import ShardSet
from tests.graph_recorder import Again
from tests.tiny_pipelines import write_tiny_encoders
from tests.toy_runs import LABELS, PICTURE_PX, UNET, run_settings, write_model, write_set
from vpd.inference.evaluate import check_count, evaluate
from vpd.training.step import learning
from vpd.training.step.graphs import recorder_on
from vpd.training.step.numerics import autocast_of
from vpd.training.worker import Worker

CPU = torch.device("cpu")
UNCHANGING = ("loop.compile", "loop.compile_head", "loop.cuda_graphs")  # settings that change no number
# Relative. Losses of a run drift apart as its steps add up what kernels round differently; first steps do not.
LOSSES, BFLOAT16, FIRST, OUTPUTS, SAME = 3e-2, 6e-2, 5e-3, 5e-3, 1e-5
SCORES, SMALL_SCORE = 1e-2, 0.1  # a pixel at the border of two classes may change sides; relative to this at least


@dataclass(frozen=True)
class Check:
    """What was compared, how far apart it was, and how far it may be."""

    name: str
    apart: float
    allowed: float
    error: str = ""

    @property
    def holds(self) -> bool:
        return not self.error and self.apart <= self.allowed

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}


class Runs:
    """Toy runs in a folder, on the CPU and on the device."""

    def __init__(self, folder: Path, device: torch.device, steps: int) -> None:
        self.folder, self.device, self.steps = folder, device, steps
        self.model = write_model(folder / "model")
        torch.manual_seed(0)
        UNet2DConditionModel(**{k: v for k, v in UNET.items() if k[0] != "_"}).save_pretrained(self.model / "unet")
        write_tiny_encoders(self.model)  # as wide as the toy sets' text
        self.sets = {task: write_set(folder / task, task) for task in LABELS}
        self.whole: dict[str, list[float]] = {}  # losses of refer on the device, by the switch; "" for none
        self._known: dict[str, list[float]] = {}  # losses of whole runs, by settings and device

    def job(self, name: str, kind: str, **changes: Any) -> TrainJob:
        """The settings of a run: `kind` is a task, or `prompts` for Meta Prompts on depth."""
        task = "depth" if kind == "prompts" else kind
        plain = run_settings(task, self.sets[task], self.model, self.folder / "runs")
        plain["run"] = {"name": name, "out": str(self.folder / "runs"), "workers": 0}
        plain["loop"] = {
            "steps": self.steps,
            "log_every_steps": 1,
            "save_every_steps": self.steps,
            "precision": "float32",
        }
        plain["optim"]["schedule"]["warmup_steps"] = 0
        job = bind(TrainJob, plain)
        if kind == "prompts":
            changes = {
                "model.head": {"name": "prompt_depth", "hidden": 16},
                "model.prompts.count": 8,
                "backbone": {**job.backbone, "timestep": None, "attention_maps": ""},
                "task": {**job.task, "view_fit": "enlarged"},
            } | changes
        return replaced(job, changes)

    def whole_losses(self, job: TrainJob, device: torch.device) -> list[float]:
        """Of a run from its first step; one that differs from an earlier one in its name alone is not run again, as
        on the CPU those without a switch that changes nothing, and in a rehearsal every counterpart."""
        plain = to_plain(replaced(job, {"run.name": "any"}))
        key = json.dumps([plain, str(device)], sort_keys=True)
        if key not in self._known:
            self._known[key] = self.losses(job, device)
        return self._known[key]

    def losses(self, job: TrainJob, device: torch.device) -> list[float]:
        """Train on a device; the loss of every logged step."""
        recorder = (lambda _: Again()) if device.type == "cpu" else recorder_on  # rehearsed, a step is called again
        with contextlib.redirect_stdout(io.StringIO()), patch.object(learning, "recorder_on", recorder):
            train(job, Worker(device=device))
        entries = [json.loads(line) for line in Path(job.folder, "log.jsonl").read_text().splitlines()]
        return [entry["loss"] for entry in entries if entry["kind"] == "train"]


def checks(folder: Path, device: torch.device, *, steps: int = 20) -> Iterator[Check]:
    """All of them, in the order of what would make the next ones pointless; runs of `steps` steps."""
    runs = Runs(folder, device, steps)
    for kind in ("refer", "depth", "seg", "prompts"):
        yield from _tried(f"{kind}: training", lambda kind=kind: _training(runs, kind))
    for name, changes in _switches().items():
        yield from _tried(f"refer, {name}", lambda name=name, changes=changes: _switch(runs, name, changes))
    for name, changes in {"": {}, **_switches(resumed=True)}.items():
        what = f"refer, resume{', ' if name else ''}{name}"
        yield from _tried(what, lambda what=what, name=name, changes=changes: _resume(runs, what, name, changes))


def _switches(*, resumed: bool = False) -> Mapping[str, dict[str, Any]]:
    """Settings that change how a step is computed."""
    layout = {"channels_last": {"loop.channels_last": True}}
    average = {"moving average": {"optim.ema_decay": 0.5}}
    regimes = {name: {"model.train": name} for name in ("lora", "head", "frozen")}
    if resumed:
        return layout | average | {"lora": regimes["lora"]}
    return (
        layout
        | regimes
        | average
        | {
            "parts of one": {"data.micro_batch_size": 1},
            "compile": {"loop.compile": True},
            "compiled head": {"loop.compile_head": True},
            "CUDA graph": {"loop.cuda_graphs": True},
        }
    )


def _tried(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """A check, or what it raised: one that fails must not keep the others from being seen."""
    try:
        yield from check()
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        yield Check(name, float("inf"), 0.0, f"{type(error).__name__}: {lines[0][:300]}")


def _training(runs: Runs, kind: str) -> Iterator[Check]:
    """Losses and outputs on the device against the CPU's, and bfloat16's against float32's."""
    plain = runs.job(f"{kind}-cpu", kind, **{"data.val": ""})
    here = replaced(plain, {"run.name": f"{kind}-device"})
    expected, found = runs.whole_losses(plain, CPU), runs.whole_losses(here, runs.device)
    if kind == "refer":
        runs.whole[""] = found
    yield Check(f"{kind}: first loss, float32", _apart(found[:1], expected[:1]), FIRST)
    yield Check(f"{kind}: {runs.steps} losses, float32", _apart(found, expected), LOSSES)
    if runs.device.type == "cuda" or kind == "refer":  # a CPU emulates bfloat16, at minutes a step for the others
        short = replaced(plain, {"run.name": f"{kind}-bfloat16", "loop.precision": "bfloat16"})
        found = runs.losses(short, runs.device)
        yield Check(f"{kind}: {runs.steps} losses, bfloat16", _apart(found, expected), BFLOAT16)
    trained = [load_trained(plain.folder, "last", device) for device in (CPU, runs.device)]
    one, other = (_outputs(one.model, kind, one.tokens) for one in trained)
    yield Check(f"{kind}: outputs of one checkpoint", float((one - other).norm() / one.norm()), OUTPUTS)
    scored = [_scores(one, plain.data.train, device) for one, device in zip(trained, (CPU, runs.device), strict=True)]
    yield Check(f"{kind}: scores of one checkpoint", scores_apart(scored[1], scored[0]), SCORES)
    first, second = (_predicted(plain.folder, kind, device) for device in (CPU, runs.device))
    yield Check(f"{kind}: predictions of one picture", _norm_apart(second, first), OUTPUTS)


def _switch(runs: Runs, name: str, changes: dict[str, Any]) -> Iterator[Check]:
    """A run under a setting on the device against the same on the CPU, where neither compiling nor a graph changes
    anything."""
    word = name.replace(" ", "-")
    here = runs.job(f"refer-{word}-device", "refer", **{"data.val": ""} | changes)
    settings = {key: value for key, value in changes.items() if key not in UNCHANGING}
    there = runs.job(f"refer-{word}-cpu", "refer", **{"data.val": ""} | settings)
    found, expected = runs.whole_losses(here, runs.device), runs.whole_losses(there, CPU)
    runs.whole[name] = found
    yield Check(f"refer, {name}: first loss", _apart(found[:1], expected[:1]), FIRST)
    yield Check(f"refer, {name}: {runs.steps} losses", _apart(found, expected), LOSSES)


def _resume(runs: Runs, what: str, switch: str, changes: dict[str, Any]) -> Iterator[Check]:
    """A run in two halves against the whole: on a GPU as equal as two runs are, on the CPU equal."""
    word = what.replace(" ", "-").replace(",", "")
    halves = runs.job(f"{word}-halves", "refer", **{"data.val": ""} | changes)
    expected = runs.whole[switch]
    runs.losses(replaced(halves, {"loop.stop_after_steps": runs.steps // 2}), runs.device)
    found = runs.losses(halves, runs.device)
    yield Check(what, _apart(found, expected), SAME if runs.device.type == "cpu" else LOSSES)


@torch.no_grad()
def _outputs(model: Any, kind: str, tokens: int) -> torch.Tensor:
    """What a model predicts for made-up latents, on the CPU."""
    draw = torch.Generator().manual_seed(3)
    device = next(model.parameters()).device
    latents = torch.randn(2, 4, 8, 8, generator=draw).to(device)
    text = torch.randn(2, tokens, model.backbone.context_width, generator=draw).to(device)
    classes = torch.zeros(2, dtype=torch.int64, device=device)
    context = {"refer": text, "depth": classes}.get(kind)
    return model(latents, context, (64, 64)).float().cpu()


def _scores(trained: Trained, url: str, device: torch.device) -> dict[str, float]:
    """What `evaluate` computes of a set, in batches of which the last one is filled up."""
    shards = ShardSet.open(url)
    numbers = autocast_of(trained.precision, device)
    metric = evaluate(trained.model, trained.task, shards, batch_size=4, device=device, autocast=numbers)
    check_count(metric, trained.task, shards)
    return dict(metric.compute())


def scores_apart(found: Mapping[str, float], expected: Mapping[str, float]) -> float:
    """The largest difference of two evaluations' scores; a score over nothing is NaN in both, or infinitely apart."""
    if found.keys() != expected.keys() or not expected:
        return float("inf")
    apart = 0.0
    for name, score in expected.items():
        if math.isfinite(score) and math.isfinite(found[name]):
            apart = max(apart, abs(found[name] - score) / max(abs(score), SMALL_SCORE))
        elif str(found[name]) != str(score):
            return float("inf")
    return apart


def _predicted(run: str, kind: str, device: torch.device) -> np.ndarray:
    """What a `Predictor` says of a made-up picture, its encoders included: float32 [P, C, H, W]."""
    picture = np.random.default_rng(3).integers(0, 256, (*PICTURE_PX, 3), np.uint8)  # [H, W, 3]
    sentences = ("a cat", "two dogs") if kind == "refer" else ()
    return Predictor(run, "last", device=device.type)(picture, sentences)


def _norm_apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The difference's norm relative to the expected one's; infinite where shapes differ or a number is none."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _apart(found: list[float], expected: list[float]) -> float:
    """The largest relative difference; infinite where one has other steps than the other."""
    if len(found) != len(expected) or not expected:
        return float("inf")
    return max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(found, expected, strict=True))
