"""One driver a set: the second is told who builds, the dead give way, and who was overtaken stops."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.building import lease
from pipeline.building.lease import LEASE_NAME, Holder, Lease, Timing, holder_of
from shards.contract.canonical import canonical_json
from shards.errors import BeingBuilt
from shards.storage.storage import Folder, open_folder
from tests.s3_server import BUCKET, S3Server

QUICK = Timing(beat_s=0.05, dead_s=0.4)


@pytest.fixture(params=["local", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return open_folder(tmp_path / "toys")
    server: S3Server = request.getfixturevalue("s3_server")
    return open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}/toys", storage_options=server.options)


def elsewhere(folder: Folder) -> Holder:
    """Leave the lease of a process of another machine."""
    holder = replace(Holder.here(), machine="another", host="node7", pid=4711)
    folder.write(LEASE_NAME, canonical_json(asdict(holder)))
    return holder


def test_a_second_driver_is_told_who_builds_since_when_and_what_to_do(folder: Folder) -> None:
    with Lease(folder, timing=QUICK):
        holder = holder_of(folder)
        assert holder is not None
        with pytest.raises(
            BeingBuilt, match=f"process {holder.pid} on {holder.host}, since {holder.since[:13]}"
        ) as told:
            Lease(folder, timing=QUICK).__enter__()
        assert "If that process is dead, run this again" in str(told.value)
    assert not folder.exists(LEASE_NAME)
    with Lease(folder, timing=QUICK):
        pass


def test_of_many_who_come_at_once_one_builds(folder: Folder) -> None:
    taken, refused, begin, end = [], [], threading.Barrier(6), threading.Event()

    def drive() -> None:
        begin.wait()
        try:
            with Lease(folder, timing=QUICK) as held:
                taken.append(held)
                end.wait()
        except BeingBuilt as error:
            refused.append(error)

    drivers = [threading.Thread(target=drive) for _ in range(6)]
    for driver in drivers:
        driver.start()
    deadline = time.monotonic() + 20
    while len(taken) + len(refused) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    end.set()
    for driver in drivers:
        driver.join()
    assert (len(taken), len(refused)) == (1, 5)


def test_a_killed_driver_of_this_machine_gives_way_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pipeline.building.lease import Lease; from shards.storage.storage import open_folder\n"
        f"Lease(open_folder({str(tmp_path)!r})).__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3])
    folder, said = open_folder(tmp_path), list[str]()
    assert folder.exists(LEASE_NAME)
    began = time.monotonic()
    with Lease(folder, said.append):
        assert time.monotonic() - began < 5
    assert "took over from process" in said[0]


def test_a_lease_of_another_machine_gives_way_when_it_has_stood_still(folder: Folder) -> None:
    elsewhere(folder)
    said: list[str] = []
    with Lease(folder, said.append, QUICK) as held:
        held.check()
    assert [line.split()[0] for line in said] == ["is", "took"]
    assert "on node7" in said[0]


def test_a_lease_of_another_machine_that_moves_is_respected(folder: Folder) -> None:
    holder = elsewhere(folder)
    beat = threading.Timer(0.1, lambda: folder.write(LEASE_NAME, canonical_json(asdict(holder.next_beat()))))
    beat.start()
    with pytest.raises(BeingBuilt, match="process 4711 on node7"):
        Lease(folder, lambda line: None, replace(QUICK, dead_s=30)).__enter__()
    beat.join()


def test_it_is_renewed_and_who_was_overtaken_stops(folder: Folder) -> None:
    with Lease(folder, timing=QUICK) as held:
        first = holder_of(folder)
        time.sleep(0.4)
        second = holder_of(folder)
        assert first is not None
        assert second is not None
        assert (second.beats > first.beats, second.token) == (True, first.token)
        held.check()
        elsewhere(folder)
        time.sleep(0.3)
        with pytest.raises(BeingBuilt, match="was taken over by process 4711 on node7"):
            held.check()
    assert folder.exists(LEASE_NAME), "it belongs to the other now"


def test_who_cannot_renew_stops_before_another_may_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(tmp_path / "toys")
    with Lease(folder, timing=QUICK) as held:

        def full(*_: object) -> bool:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(folder, "replace", full)
        time.sleep(0.6)
        with pytest.raises(BeingBuilt, match="could not be renewed"):
            held.check()


def test_a_file_that_is_no_lease_is_said_to_be_none(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    folder.write(LEASE_NAME, b'{"pid": 3}')
    with pytest.raises(BeingBuilt, match="is no lease"):
        Lease(folder).__enter__()


def test_where_processes_cannot_be_seen_every_lease_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Holder.here()
    monkeypatch.setattr(lease, "_process", lambda pid: "other")
    assert holder.is_gone
    monkeypatch.setattr(lease, "_machine", lambda: "unknown")
    assert not holder.is_gone
