"""A set that is cut, edited or replaced behind an open reader: values as they were written, or an error of ours, and
never a signal. Each reader is a process of its own, so that SIGBUS would be seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

READER = """
import os, sys
from pathlib import Path
from shards.errors import ContractError
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.storage.cache import ShardCache

root, place, way = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def damage():
    folder = root if place == "local" else Path(sys.argv[4])
    for path in folder.glob("*.tar"):
        size = path.stat().st_size
        path.chmod(0o644)
        if way == "cut":
            os.truncate(path, size // 3)
        elif way == "emptied":
            os.truncate(path, 0)
        elif way == "edited":
            path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))  # in place

cache = None if place == "local" else ShardCache(sys.argv[4], 10**9)
shards = ShardSet.open(root if place == "local" else f"file://{root}", cache=cache)
kept = [shards.record(number).payload("depth") for number in range(shards.n_records)]
before = [bytes(payload) for payload in kept]
stream = BatchStream(shards, Order(shards.n_items, 0), batch_size=4, stop=24 * 40, fields=("tokens",), threads=2)
first = next(stream)
meta = first.sample(0).meta
damage()
assert [bytes(payload) for payload in kept] == before, "what was handed out is the caller's"
assert first.sample(0).meta == meta
errors = []
for number in range(-1, 12):
    try:
        list(stream) if number < 0 else shards.record(number).array("latent")
    except ContractError as error:
        errors.append(f"{type(error).__name__}: {error}")
print(len(errors), errors[-1])
"""


@pytest.mark.parametrize("place", ["local", "cached"])
@pytest.mark.parametrize(
    ("way", "said"), [("cut", "was cut"), ("emptied", "was cut"), ("edited", "xxh3 differs from the index")]
)
def test_a_set_changed_behind_an_open_reader_is_an_error(
    damaged: Path, tmp_path: Path, place: str, way: str, said: str
):
    words = [sys.executable, "-c", READER, str(damaged), place, way, str(tmp_path / "cache")]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    count, _, last = done.stdout.partition(" ")
    assert int(count) >= (13 if way != "cut" else 2)
    assert last.startswith("CorruptShard: ")
    assert said in last
