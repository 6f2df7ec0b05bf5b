"""`make demo`: the main job end to end, offline, on this machine.

Renders a small world in the official dataset layouts, makes a tiny Stable-Diffusion-shaped model, starts a private Ray
head, submits the real jobs with `ray job submit`, and leaves pictures to look at in demo_out/. The same commands with
other paths and a real model id serve real data; configs/demo/ differs from configs/ in sizes only.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from demo import depth_chapter, refer_chapter, seg_chapter
from demo.ray_head import RayHead
from demo.tiny_sd import write_tiny_sd

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "demo_out"
CHAPTERS = {"refer": refer_chapter, "depth": depth_chapter, "seg": seg_chapter}


def main(names: list[str]) -> None:
    started = time.monotonic()
    chosen = names or list(CHAPTERS)
    if unknown := set(chosen) - set(CHAPTERS):
        sys.exit(f"no demo chapter {', '.join(sorted(unknown))}; there are: {', '.join(CHAPTERS)}")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()

    def say(text: str) -> None:
        print(f"[demo {time.monotonic() - started:5.0f} s] {text}", flush=True)

    say("making a tiny Stable-Diffusion-shaped model")
    write_tiny_sd(OUT / "tiny-sd")
    summaries = []
    say("starting a Ray head on this machine")
    with RayHead(ROOT) as head:
        for name in chosen:
            summaries += CHAPTERS[name].run(head, OUT, say)
    say("done\n")
    print("\n".join(summaries))
    print(f"\nPictures, shards, runs and logs are in {OUT.relative_to(ROOT)}/.")


if __name__ == "__main__":
    main(sys.argv[1:])
