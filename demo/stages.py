"""What the demo does, a line each: jobs are submitted side by side, and what they say goes to files.

Owns the lines of progress, the log files and the end of the demo when a job fails, which shows what it said last.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demo.ray_head import RayHead
from demo.starts import Start

LAST_LINES = 40  # of a failed job


class Stages:
    """Args: `head` runs the jobs; `logs` is the folder of their files; `began`, when the demo did; `starts`, first
    weights of trainings."""

    def __init__(self, head: RayHead, logs: Path, began: float, starts: tuple[Start, ...]) -> None:
        self.head, self.logs, self._began, self.starts = head, logs, began, starts
        logs.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        print(f"[demo {time.monotonic() - self._began:5.0f} s] {text}", flush=True)

    def submit(self, what: str, **jobs: str) -> None:
        """`ray job submit -- <words>` for each of `jobs`, name of the log file: words, side by side.

        SystemExit: one of them failed.
        """
        began = time.monotonic()
        threads = ThreadPoolExecutor(len(jobs))
        try:
            failed = [text for text in threads.map(self._one, jobs, jobs.values()) if text]
        finally:
            threads.shutdown(wait=False)  # interrupted, the head's end is what ends the jobs
        if failed:
            sys.exit("\n".join(failed))
        self.say(f"{what}: {time.monotonic() - began:.0f} s")

    def train(self, task: str) -> None:
        """The task's training from every start; side by side, on a worker each."""
        words = f"jobs/train.py --task {task} --config configs/demo/train_{task}.yaml run.workers=1"
        weights = " and from ".join(start.weights for start in self.starts)
        jobs = {
            f"train_{task}{start.suffix}": f"{words} {start.settings} run.name={task}{start.suffix}"
            for start in self.starts
        }
        self.submit(f"{task}: training from {weights}", **jobs)

    def _one(self, name: str, words: str) -> str:
        """Empty, or what is to be said about the failure."""
        path = self.logs / f"{name}.log"
        with path.open("w", encoding="utf-8") as log:
            print(f"$ ray job submit -- {words}", file=log, flush=True)
            job = self.head.submit("--", *words.split(), echo=log)
        if job.returncode == 0:
            return ""
        last = "".join(f"  | {line}\n" for line in job.stdout.splitlines()[-LAST_LINES:])
        return f"{last}demo: `ray job submit -- {words}` failed with exit status {job.returncode}; all it said: {path}"
