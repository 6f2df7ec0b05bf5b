"""One call on a machine with a GPU: first whether everything is right there, then how fast it is.

    python -m benchmarks.gpu                      # checks, then rates, in at most 8 minutes
    python -m benchmarks.gpu --rehearse           # every line of it on the CPU at toy size, in about a minute
    python -m benchmarks.gpu --out results.json   # where the figures are kept, with card and versions

Needs no Ray and no download: random weights at Stable Diffusion 1.5's size. Beside a usual CUDA image with torch 2.11
or later and transformers it needs the wheels of diffusers, xxhash, orjson, webdataset, braceexpand, pycocotools, and
of peft for LoRA. What does not fit into the time is listed as not reached. Exit status 1 if a check does not hold.

Owns the order, the time and the report; the checks are `benchmarks.gpu_checks`', the measurements
`benchmarks.gpu_rates`'.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_checks import checks
from benchmarks.gpu_rates import FULL, REHEARSAL, freed, rates

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "diffusers", "transformers", "peft", "numpy")


def main(words: list[str] | None = None) -> int:
    """Run it; 1 if a check does not hold, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at toy size, nothing compiled")
    parser.add_argument("--out", default="", help="JSON file; default benchmarks/results/<card>-<date>.json")
    parser.add_argument("--seconds", type=float, default=460, help="nothing new is begun after so long")
    options = parser.parse_args(words)
    if not options.rehearse and not torch.cuda.is_available():
        print("benchmarks.gpu: torch sees no CUDA device here. --rehearse runs every line of it on the CPU.")
        return 2
    device = torch.device("cpu" if options.rehearse else "cuda")
    if options.rehearse:
        torch.compiler.set_stance("force_eager")  # a compiled toy would take minutes of a CPU
    try:
        report = run(device, time.perf_counter() + options.seconds, rehearsed=options.rehearse)
    finally:
        torch.compiler.set_stance("default")
    path = Path(
        options.out or ROOT / "benchmarks/results" / f"{_word(report['card'])}-{time.strftime('%Y-%m-%d')}.json"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {path}")
    return 0 if all(check["holds"] for check in report["checks"]) else 1


def run(device: torch.device, until: float, *, rehearsed: bool) -> dict[str, Any]:
    """Checks, then rates until the time is over; everything is printed as it comes."""
    report: dict[str, Any] = {**_about(device), "rehearsed": rehearsed, "checks": [], "rates": [], "not_reached": []}
    print(f"{report['card']}, {report['versions']}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for check in checks(Path(folder), device, steps=2 if rehearsed else 20):
            report["checks"].append(check.plain())
            word = "ok    " if check.holds else "FAILED"
            print(
                f"  {word} {check.name}: {check.apart:.2e} apart (allowed {check.allowed:g}) {check.error}", flush=True
            )
    for name, measure in rates(REHEARSAL if rehearsed else FULL, device):
        if time.perf_counter() > until:
            report["not_reached"].append(name)
            continue
        freed(device)
        begun = time.perf_counter()
        try:
            row: dict[str, Any] = measure()
        except Exception as error:  # one that fails, or does not fit, must not lose the others' figures
            row = {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"}
        row["took_s"] = round(time.perf_counter() - begun, 1)
        report["rates"].append({"name": name, **row})
        print(f"  {name:<40} " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if report["not_reached"]:
        print(f"  not reached in time: {', '.join(report['not_reached'])}")
    return report


def _about(device: torch.device) -> dict[str, Any]:
    """Card, versions and commit: without them a figure says nothing."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    card = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU {platform.machine()}"
    return {
        "card": card,
        "cuda": torch.version.cuda,
        "versions": found,
        "commit": git.stdout.strip(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def _word(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


if __name__ == "__main__":
    sys.exit(main())
