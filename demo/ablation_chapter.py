"""What each part of the method brings, by leaving it out: the paper's ablations on the demo's segmentation.

`python -m demo ablations`: not a part of `make demo`, which it would double. Every training has the steps, the shards
and the two seeds of the first. Words that say nothing stand for missing prompts: the network has to be told something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from demo.outcome import Outcome
from demo.refer_chapter import validations
from demo.seg_chapter import build
from demo.stages import Stages
from demo.starts import Start

SEEDS = (0, 1)
STEPS = 300
NOTHING = ("the", "thing", "one", "on", "at", "in", "of")  # a word for each class


@dataclass(frozen=True)
class Training:
    """One row of the table: what is different, and the settings that make it so."""

    what: str
    name: str
    settings: str = ""


def trainings(starts: Sequence[Start]) -> list[Training]:
    """The whole method first, then each without a part of it."""
    pretrained, random = starts
    return [
        Training(f"VPD from {pretrained.weights}", "whole"),
        Training("  without attention maps", "no-maps", "backbone.attention_maps="),
        Training("  without words for the classes", "no-words", "data.table=demo_out/nothing"),
        Training(f"  from {random.weights}", "random", random.settings),
    ]


def run(stages: Stages, out: Path) -> Outcome:
    """Run the chapter."""
    build(stages, out)
    words = f"names=[{','.join(NOTHING)}] out=demo_out/nothing"
    model = "text.model=demo_out/tiny-sd text.length=16 prompts.templates=photo"
    stages.submit("ablations: words that say nothing", prompts=f"jobs/build_prompts.py {words} {model}")
    for training in trainings(stages.starts):
        stages.submit(f"ablations:{training.what}".replace(":  ", ": "), **_jobs(training))
    return outcome(out, trainings(stages.starts))


def _jobs(training: Training) -> dict[str, str]:
    """A job for each seed, side by side, on a worker each."""
    words = "jobs/train.py --task seg --config configs/demo/train_seg.yaml run.workers=1"
    loop = f"loop.steps={STEPS} loop.eval_every_steps={STEPS} loop.eval_at_start=false"
    names = {seed: f"ablation-{training.name}-{seed}" for seed in SEEDS}
    return {
        name: " ".join([words, training.settings, loop, f"loop.seed={seed}", f"run.name={name}"])
        for seed, name in names.items()
    }


def outcome(out: Path, made: Sequence[Training]) -> Outcome:
    """Means over the seeds, and what lies between them."""
    rows: dict[str, tuple[float | None, ...]] = {}
    for training in made:
        last = [validations(out / f"runs/ablation-{training.name}-{seed}")[-1]["mIoU"] for seed in SEEDS]
        rows[training.what] = (fmean(last), max(last) - min(last))
    return Outcome(
        f"Segmentation after {STEPS} steps: what does each part bring?",
        ("mIoU", "+-"),
        rows,
        made[0].what,
        "",
        "",
        f"Means of {len(SEEDS)} seeds; +- is the difference between them.",
    )
