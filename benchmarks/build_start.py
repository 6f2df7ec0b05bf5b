"""How long from the start of a build to its first encode, on annotation files of RefCOCO's full size?

    python -m benchmarks.build_start                       (two minutes; encoders of the full size, random weights)
    python -m benchmarks.build_start --model tiny          (encoders that load at once: the rest of the start)
    python -m benchmarks.build_start --against ../main     (another checkout's beside it, in turns)

The command is the one people type, against a cluster that runs already, as `ray job submit` finds one. Wall time says
little on a machine that others use, so that CPU seconds are given, too: the driver's and the encoder actor's from their
starts, until the encoder is called first. The actor starts after a fifth of the driver's work; then both have a
core each, so that on two idle ones the wall time is the actor's and that fifth. `at` lists what the driver had spent
when it said something.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.full_sd import write_full_sd
from benchmarks.refcoco_world import write_refcoco
from demo.ray_head import RayHead
from demo.tiny_sd import write_tiny_sd

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
LONGEST_S = 600


def cpu_s(pid: int) -> float:
    """What a process has spent since it was started, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def started(world: Path, checkout: Path, head: RayHead, model: Path) -> dict[str, Any]:
    """One build, ended at its first encode."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "first")
        image = f"{{name: benchmarks.first_encode, told: {told}, model: {model}}}"
        words = [f"source.root={world}", f"out={folder}/out", f"image={image}", f"text.model={model}"]
        command = [sys.executable, "jobs/build_shards.py", "--config", "configs/build/refcoco.yaml", *words]
        environment = {**head.env, "RAY_ADDRESS": head.address, "PYTHONPATH": f"{checkout}{os.pathsep}{ROOT}"}
        begun = time.time()
        driver = subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said: list[tuple[float, str]] = []
        listener = threading.Thread(target=listen, args=(driver, said), daemon=True)
        listener.start()
        while not told.exists():
            if driver.poll() is not None or time.time() - begun > LONGEST_S:
                driver.kill()
                raise SystemExit("no first encode:\n" + "\n".join(line for _, line in said))
            time.sleep(0.01)
        spent = cpu_s(driver.pid)
        driver.send_signal(signal.SIGINT)
        driver.wait(60)
        first = json.loads(told.read_text())
    return {
        "wall_s": first["time"] - begun,
        "driver_cpu_s": spent,
        "actor_cpu_s": first["cpu_s"],
        "at": [[round(seconds, 2), line.strip()] for seconds, line in said if line.startswith(("plan: r", "[build]"))],
    }


def listen(driver: subprocess.Popen[str], said: list[tuple[float, str]]) -> None:
    assert driver.stdout is not None
    for line in driver.stdout:
        try:
            said.append((cpu_s(driver.pid), line))
        except OSError:  # it has ended
            said.append((0.0, line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", choices=("full", "tiny"), default="full")
    parser.add_argument("--against", type=Path, help="another checkout, in turns with this one")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script ignores it in its background
    sides = {"here": ROOT} | ({"there": options.against.resolve()} if options.against else {})
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        world, model = Path(folder, "refer"), Path(folder, "model")
        write_refcoco(world)
        (write_full_sd if options.model == "full" else write_tiny_sd)(model)
        heads = {
            side: opened.enter_context(RayHead(checkout, env={"PYTHONPATH": f"{checkout}{os.pathsep}{ROOT}"}))
            for side, checkout in sides.items()
        }
        for number in range(options.rounds):
            for side, checkout in sides.items():
                found[side].append(one := started(world, checkout, heads[side], model))
                print(f"{side} {number}: {words_of(one)}", flush=True)
    for side, rounds in found.items():
        middle = {
            name: statistics.median(one[name] for one in rounds) for name in ("wall_s", "driver_cpu_s", "actor_cpu_s")
        }
        print(f"{side}, medians: {words_of(middle)}")
        for seconds, line in rounds[-1]["at"]:
            print(f"  {seconds:6.2f} s  {line}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def words_of(one: dict[str, Any]) -> str:
    driver, actor = one["driver_cpu_s"], one["actor_cpu_s"]
    return f"wall {one['wall_s']:.1f} s, CPU {driver + actor:.1f} s (driver {driver:.1f}, actor {actor:.1f})"


if __name__ == "__main__":
    main()
