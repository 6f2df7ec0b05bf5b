"""Pushes and pulls that are killed at any moment and run again: equal bytes, nothing doubled, nothing temporary left,
and what had arrived is not sent again. Against a real S3 server, and between folders. KILL_ROUNDS=20 plays more rounds.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.errors import IncompleteSet
from shards.storage import staging
from shards.storage.storage import Folder, open_folder
from shards.upkeep.publication import pull_sets, push_sets
from tests.s3_server import BUCKET, S3Server
from tests.shards.toy_set import write_in_pages, write_toy_set
from tests.shards.upkeep.test_copying import files_of

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = int(os.environ.get("KILL_ROUNDS", 2))
SHARDS = 12


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "many"
    with pytest.MonkeyPatch.context() as patch:
        write_in_pages(patch)  # more files to be killed between
        write_toy_set(root, (2,) * SHARDS)
    return root


@pytest.fixture
def killed_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Start a move in a process of its own, and kill it a moment after `begun` says so."""
    monkeypatch.setattr(staging, "staging_root", lambda: tmp_path / f"shard-staging-{os.getuid()}")

    def killed(move: str, place: str, to: str, options: dict[str, str], begun: Callable[[], bool], seed: int) -> None:
        words = [sys.executable, "-m", "tests.shards.upkeep.slow_move", move, place, to, json.dumps(options)]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        process = subprocess.Popen(words, cwd=ROOT, env=environment)
        while process.poll() is None and not begun():
            time.sleep(0.005)
        time.sleep(random.Random(seed).random() * 0.45)
        process.kill()
        process.wait()

    return killed


def temporary(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.suffix == ".tmp" or "_copy" in path.parts]


def is_whole(folder: Folder) -> bool:
    try:
        return bool(folder.read("manifest.json"))
    except IncompleteSet:
        return False


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_killed_push_to_a_folder_goes_on(
    many: Path, tmp_path: Path, killed_move: Callable[..., None], seed: int
) -> None:
    target = tmp_path / "pub" / "many"
    killed_move("push", str(many), str(tmp_path / "pub"), {}, lambda: bool(list(target.glob("*.tar"))), seed)
    arrived, whole = len(list(target.glob("*.tar"))), is_whole(open_folder(target))
    done = push_sets([many], tmp_path / "pub")[0].copied
    assert whole or done.kept == arrived
    assert done.shards + done.kept == SHARDS
    assert files_of(open_folder(target)) == files_of(open_folder(many))
    assert temporary(tmp_path) == []


def test_what_a_push_killed_while_it_described_a_place_left_there_goes_with_the_next(
    many: Path, tmp_path: Path
) -> None:
    place = tmp_path / "pub"
    push_sets([many], place)
    (place / ".sets.json.5447-4b5ce25f.tmp").touch()
    push_sets([many], place)
    assert temporary(tmp_path) == []


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_killed_push_to_s3_goes_on_and_so_does_the_pull(
    many: Path, tmp_path: Path, s3_server: S3Server, killed_move: Callable[..., None], seed: int
) -> None:
    to, options = f"s3://{BUCKET}/{uuid.uuid4().hex}", s3_server.options
    target = open_folder(f"{to}/many", storage_options=options)
    killed_move("push", str(many), to, options, lambda: bool(target.names("*.tar")), seed)
    noted = [name for name in files_of(target) if name.startswith("_copy/many-")]
    done = push_sets([many], to, storage_options=options)[0].copied
    assert done.kept == (len(noted) if done.shards else SHARDS)  # of the others it is not known what arrived
    assert files_of(target) == files_of(open_folder(many))

    here = tmp_path / "here" / "many"
    killed_move("pull", to, str(tmp_path / "here"), options, lambda: bool(list(here.glob("*.tar"))), seed)
    arrived = len(list(here.glob("*.tar")))
    pulled = pull_sets([to], tmp_path / "here", storage_options=options)[0].copied
    assert pulled.kept == arrived
    assert files_of(open_folder(here)) == files_of(open_folder(many))
    assert temporary(tmp_path) == []
    assert list(staging.staging_root().glob("*")) == []
