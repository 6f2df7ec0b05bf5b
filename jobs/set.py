#!/usr/bin/env python3
"""Look after sets: verify, inspect, compare, repair, merge, split, convert, publish and fetch them, anywhere.

    diffusion-perception set verify data/shards/refcoco-unc-val s3://bucket/sets/refcoco-unc-train
    diffusion-perception set push data/shards/refcoco-unc-val to=s3://bucket/sets
    diffusion-perception set TOOL --help                         every setting of a tool

Owns which tools there are; each is a module of `jobs.sets`, and all that they do is a function of the library. No Ray.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from jobs import program

FAMILY = {
    "verify": "jobs.sets.verify",
    "inspect": "jobs.sets.inspect",
    "diff": "jobs.sets.diff",
    "repair": "jobs.sets.repair",
    "merge": "jobs.sets.merge",
    "split": "jobs.sets.split",
    "convert": "jobs.sets.convert",
    "push": "jobs.sets.push",
    "pull": "jobs.sets.pull",
    "energon": "jobs.sets.energon",
}


if __name__ == "__main__":
    program.main("jobs.set")
