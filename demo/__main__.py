"""`make demo`: the main job end to end, offline, on this machine.

Renders a small world in the official dataset layouts, copies a tiny Stable Diffusion (`demo.starts`), starts a private
Ray head, submits the real jobs with `ray job submit`, and leaves a page to look at in demo_out/. The same commands with
other paths and a real model id serve real data; configs/demo/ differs from configs/ in sizes only.

`python -m demo refer` tells that chapter alone; `python -m demo ablations` one that is told on request.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from demo import ablation_chapter, depth_chapter, refer_chapter, seg_chapter
from demo.outcome import Outcome
from demo.page import write_page
from demo.ray_head import RayHead
from demo.stages import Stages
from demo.starts import write_starts

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "demo_out"
# Beside other work, Ray's workers, 15 steps nicer than all else, would hardly run, or be given up before they start.
PATIENT = {"RAY_worker_niceness": "0", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}
CHAPTERS = {"refer": refer_chapter, "depth": depth_chapter, "seg": seg_chapter, "ablations": ablation_chapter}
TOLD = ("refer", "depth", "seg")  # unless others are asked for


def main(names: list[str]) -> None:
    started = time.monotonic()
    chosen = names or list(TOLD)
    if unknown := set(chosen) - set(CHAPTERS):
        sys.exit(f"no demo chapter {', '.join(sorted(unknown))}; there are: {', '.join(CHAPTERS)}")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    starts = write_starts(OUT)
    outcomes: list[Outcome] = []
    with RayHead(ROOT, env=PATIENT) as head:
        stages = Stages(head, OUT / "logs", started, starts)
        stages.say("a Ray head on this machine")
        outcomes = [CHAPTERS[name].run(stages, OUT) for name in chosen]
        minutes = (time.monotonic() - started) / 60
        write_page(OUT / "index.html", outcomes, OUT / "tiny-sd/samples.jpg", minutes)
        stages.say("done\n")
    print("\n\n".join("\n".join(outcome.lines()) for outcome in outcomes))
    print(f"\nTo look at: {OUT.relative_to(ROOT)}/index.html. Shards, runs and logs are beside it.")


if __name__ == "__main__":
    main(sys.argv[1:])
