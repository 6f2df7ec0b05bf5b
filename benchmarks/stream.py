"""The exact stream beside other people's loaders: samples a second, processor seconds a sample, memory, first batch,
resume, and what a flipped byte does.

    python -m benchmarks.stream --samples 2048 --rounds 3 --workers 0 1 2 --out benchmarks/results/stream.json

The payload is that of benchmarks/reader.py, about 95 KB a sample, in each reader's own form, page cache warm. Every
reader has a process of its own, with everything imported; they take turns, an epoch each, and the medians over rounds
count. Processor time is that of the process and of all its workers, memory the largest sum of what belongs to them
alone (anonymous and shared memory). `first` is from making the loader to its first batch, `resume` to the first batch
from the middle of an epoch by the reader's own means, where it has any. `memcpy` copies both tensors of every sample in
a shuffled order. Readers that are not installed are named and left out: they want an environment of their own, as
`make peers` makes one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers import Ours, OursThreads, Peer, WebDataset, Wids
from benchmarks.peers_converted import HuggingFace, LitData, Mosaic
from benchmarks.peers_described import Dali, Energon, RayData
from benchmarks.processes import Watch, cpu_s
from benchmarks.reader import BATCH

PEERS: dict[str, type[Peer]] = {
    "ours": Ours,
    "ours, 2 threads": OursThreads,
    "webdataset": WebDataset,
    "wids": Wids,
    "mosaicml-streaming": Mosaic,
    "litdata": LitData,
    "Energon": Energon,
    "Hugging Face": HuggingFace,
    "Ray Data": RayData,
    "DALI": Dali,
}
_ONE_TURN_S = 240


def epoch(peer: Peer, workers: int, number: int, samples: int) -> dict[str, Any]:
    """An epoch, counted."""
    cpu, began, first, seen, total = cpu_s(), time.perf_counter(), 0.0, set(), 0
    for latents, texts, masks, metas in peer.batches(workers, number):
        first = first or time.perf_counter() - began
        assert len(latents) == len(texts) == len(masks) == len(metas)
        seen.update(meta["image_id"] for meta in metas)
        total += len(metas)
    wall = time.perf_counter() - began
    return {
        "samples_a_s": total / wall,
        "cpu_us_a_sample": (cpu_s() - cpu) / total * 1e6,
        "first_s": first,
        "exact": total == len(seen) == samples,
    }


def flipped(peer: Peer, samples: int) -> str:
    """What an epoch over a damaged copy does."""
    copy = type(peer)(Path(f"{peer.folder}-flipped"))
    if not copy.folder.exists():
        shutil.copytree(peer.folder, copy.folder)
        file = copy.files()[len(copy.files()) // 2]
        with file.open("r+b") as raw:
            raw.seek(file.stat().st_size // 2 // 95_000 * 95_000 + 50_000)
            byte = raw.read(1)
            raw.seek(-1, 1)
            raw.write(bytes([byte[0] ^ 0x10]))
    try:
        total = sum(len(batch[0]) for batch in copy.batches(0, 0))
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return "handed out" if total == samples else f"{samples - total} samples less"


def child(name: str, folder: str, workers: int, samples: int) -> None:
    """One reader, told what to do line by line."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    torch.set_num_threads(1)
    peer = PEERS[name](Path(folder))
    for line in sys.stdin:
        words = line.split()
        answer: dict[str, Any]
        try:
            if words[0] == "epoch":
                answer = epoch(peer, workers, int(words[1]), samples)
            elif words[0] == "memory":
                watch = Watch()
                answer = {**epoch(peer, workers, int(words[1]), samples), "memory_mb": watch.end()}
            elif words[0] == "resume":
                began, loop = time.perf_counter(), peer.resume(workers, samples // 2 // BATCH * BATCH, int(words[1]))
                next(loop)
                answer = {"resume_s": time.perf_counter() - began - peer.before_s}
            else:
                answer = {"flipped": flipped(peer, samples)}
        except Exception:
            answer = {"error": traceback.format_exc()[-600:]}
        out.write(json.dumps(answer) + "\n")
        out.flush()


class Reader:
    """A child process."""

    def __init__(self, name: str, folder: Path, workers: int, samples: int) -> None:
        words = [sys.executable, "-m", "benchmarks.stream", "--child", name, str(folder), str(workers), str(samples)]
        self.process = subprocess.Popen(words, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True)
        self.name, self.workers = name, workers
        self.figures: list[dict[str, Any]] = []
        self.once: dict[str, Any] = {}

    def ask(self, *words: object) -> dict[str, Any]:
        """Its answer; an error ends it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(_ONE_TURN_S, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            return {"error": f"ended, or took more than {_ONE_TURN_S} s"}
        finally:
            timer.cancel()

    def end(self) -> None:
        """It and its workers go."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def write(names: list[str], scratch: Path, samples: int) -> dict[str, Path]:
    """The payload for every reader that is installed; the others are said."""
    found = {}
    for name in names:
        folder = scratch / name.replace(" ", "-").replace(",", "")
        code = f"from benchmarks.stream import PEERS; from pathlib import Path; PEERS[{name!r}](Path({str(folder)!r}))"
        done = subprocess.run(
            [sys.executable, "-c", f"{code}.write({samples})"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"{name}: left out ({done.stderr.strip().splitlines()[-1][:160]})", flush=True)
        else:
            found[name] = folder
    return found


def compare(folders: dict[str, Path], workers: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All readers in turn, with so many workers."""
    readers = [Reader(name, folder, workers, options.samples) for name, folder in folders.items()]
    for turn in range(options.rounds + 1):
        for reader in readers:
            if "error" in reader.once:
                continue
            figure = reader.ask("memory" if turn == options.rounds else "epoch", turn)
            if "error" in figure:
                reader.once |= figure
            elif turn:
                reader.figures.append(figure)
    rows = []
    for reader in readers:
        if PEERS[reader.name].resumes and "error" not in reader.once:
            reader.once |= reader.ask("resume", 1)
        if not workers and "error" not in reader.once:
            reader.once |= reader.ask("flip")
        reader.end()
        row: dict[str, Any] = {"reader": reader.name, "workers": workers, "resumes": PEERS[reader.name].resumes}
        if reader.figures:
            for key in ("samples_a_s", "cpu_us_a_sample", "first_s"):
                row[key] = statistics.median(figure[key] for figure in reader.figures)
            row["memory_mb"] = reader.figures[-1].get("memory_mb")
            row["exact"] = all(figure["exact"] for figure in reader.figures)
        rows.append(row | reader.once)
        print(_line(rows[-1]), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    def shown(key: str, form: str) -> str:
        return format(row[key], form) if isinstance(row.get(key), float) else "-"

    return (
        f"{row['workers']} {row['reader']:20}{shown('samples_a_s', '10.0f')}{shown('cpu_us_a_sample', '9.0f')}"
        f"{shown('memory_mb', '8.0f')}{shown('first_s', '8.2f')}{shown('resume_s', '8.2f')}  "
        f"{'every sample once' if row.get('exact') else 'NOT every sample once'}  {row.get('flipped', '')}"
        f"{' '.join(row['error'].split())[-200:] if 'error' in row else ''}"
    )


def memcpy_us(folder: Path, samples: int, rounds: int) -> float:
    """Processor microseconds a sample of one copy of both tensors."""
    from benchmarks.reader import measure, memcpy_run
    from shards import Order, ShardSet

    shards = ShardSet.open(folder)
    run = memcpy_run(shards, Order(shards.n_items, 0))
    return statistics.median([measure(run, samples)[0] for _ in range(rounds + 1)][1:])


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--samples", type=int, default=2048, help="samples of an epoch")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each reader after a first one")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="processes that read")
    parser.add_argument("--readers", nargs="+", default=list(PEERS), choices=list(PEERS), help="which of them")
    parser.add_argument("--note", default="", help="about the machine, kept with the figures")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stream-bench-") as scratch:
        folders = write(options.readers, Path(scratch), options.samples)
        copied = memcpy_us(folders["ours"], options.samples, options.rounds) if "ours" in folders else None
        print(f"memcpy {copied} us a sample\nworkers, reader, samples/s, cpu us, MB, first s, resume s")
        rows = [row for workers in options.workers for row in compare(folders, workers, options)]
    if options.out:
        figures = {"samples": options.samples, "rounds": options.rounds, "note": options.note, "memcpy_us": copied}
        options.out.write_text(json.dumps({**figures, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
