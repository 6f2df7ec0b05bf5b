"""Who builds a set: `_lease.json` in its folder, held by one driver at a time and renewed while that one lives.

A second driver is refused with the first one's name and times. A holder that is dead gives way: at once where this
machine can see that its process is gone, else once its lease has stood still for `Timing.dead_s`. Clocks of two
machines are never compared: whether a lease stands still is watched.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from shards.contract.canonical import canonical_json, parse_json
from shards.errors import BeingBuilt, ContractError, IncompleteSet, SchemaMismatch
from shards.storage.storage import Folder

LEASE_NAME = "_lease.json"


@dataclass(frozen=True)
class Timing:
    """How often a lease is renewed, and how long it may stand still. A driver that could not renew it for so long has
    to stop, since another may have begun."""

    beat_s: float = 10.0
    dead_s: float = 60.0


@dataclass(frozen=True)
class Holder:
    """What a lease says. `machine` and `process` tell whether a process of this machine still lives."""

    token: str
    host: str
    pid: int
    machine: str
    process: str
    since: str
    seen: str
    beats: int = 0

    @staticmethod
    def here() -> Holder:
        """This process, from now on."""
        now = _now()
        return Holder(
            secrets.token_hex(8), socket.gethostname(), os.getpid(), _machine(), _process(os.getpid()), now, now
        )

    def next_beat(self) -> Holder:
        return replace(self, seen=_now(), beats=self.beats + 1)

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine that is no more; False for others, of which nothing is known."""
        return self.machine == _machine() and self.process != _process(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}, last heard of at {self.seen}"


class Lease:
    """The right to build into a folder, as a context: taken, renewed by a thread, and given back at the end.

    Args:
        folder: of the set.
        say: is told when somebody has to be waited for, or was succeeded.

    Raises:
        BeingBuilt: on entering, somebody else builds there.
    """

    def __init__(self, folder: Folder, say: Callable[[str], None] = print, timing: Timing | None = None) -> None:
        self._folder, self._say, self._timing = folder, say, timing or Timing()
        self._mine = Holder.here()
        self._ended = threading.Event()
        self._renewed_s = 0.0
        self._taken_by: Holder | None = None
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._take()
        self._renewed_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(ContractError, OSError):  # one that stays gives way by itself
            held = self._read()
            if held is not None and held[0].token == self._mine.token:
                self._folder.remove(LEASE_NAME)

    @property
    def token(self) -> str:
        """What workers find in the folder, if they see the same one."""
        return self._mine.token

    def check(self) -> None:
        """BeingBuilt if this driver may not go on: another has the set now, or may have taken it."""
        if self._taken_by is not None:
            raise BeingBuilt(
                f"{self._folder} was taken over by {self._taken_by}, because this driver was silent for more than "
                f"{self._timing.dead_s:g} s. This one stops here; what it finished is kept"
            )
        if time.monotonic() - self._renewed_s > self._timing.dead_s:
            raise BeingBuilt(
                f"{self._folder}: the lease could not be renewed for {self._timing.dead_s:g} s, so another driver may "
                "begin. This one stops here; look at the folder or store, then run it again"
            )

    def _take(self) -> None:
        while not self._folder.create(LEASE_NAME, _payload(self._mine)):
            held = self._read()
            if held is None:
                continue
            holder, payload = held
            if not holder.is_gone:
                self._watch(holder, payload)
            self._mine = Holder.here()
            if self._folder.replace(LEASE_NAME, payload, _payload(self._mine)):
                self._say(f"took over from {holder}, which is gone")
                return

    def _watch(self, holder: Holder, payload: bytes) -> None:
        """Returns when a lease has stood still long enough, BeingBuilt as soon as it moves."""
        if holder.machine == _machine():
            raise self._refusal(holder)
        self._say(f"is being built by {holder}; waiting up to {self._timing.dead_s:g} s for a sign of life")
        until_s = time.monotonic() + self._timing.dead_s
        while time.monotonic() < until_s:
            time.sleep(self._timing.beat_s / 4)
            held = self._read()
            if held is None:
                return
            if held[1] != payload:
                raise self._refusal(held[0])

    def _refusal(self, holder: Holder) -> BeingBuilt:
        return BeingBuilt(
            f"{self._folder} is being built by {holder}. Wait for it, or build into another place (name, out). If that "
            f"process is dead, run this again: a lease that stands still for {self._timing.dead_s:g} s gives way. If "
            f"it hangs, end it; {LEASE_NAME} there need not be deleted by hand"
        )

    def _read(self) -> tuple[Holder, bytes] | None:
        try:
            payload = self._folder.read(LEASE_NAME)
            fields: dict[str, Any] = parse_json(payload, LEASE_NAME)
            return Holder(**fields), payload
        except IncompleteSet:
            return None
        except (TypeError, SchemaMismatch) as error:
            raise BeingBuilt(
                f"{self._folder}/{LEASE_NAME} is no lease ({error}). If nobody builds there, delete it"
            ) from error

    def _renew(self) -> None:
        while not self._ended.wait(self._timing.beat_s):
            with suppress(ContractError, OSError):  # `check` says so when it lasts
                later = self._mine.next_beat()
                if self._folder.replace(LEASE_NAME, _payload(self._mine), _payload(later)):
                    self._mine, self._renewed_s = later, time.monotonic()
                elif (held := self._read()) is not None and held[0].token != self._mine.token:
                    self._taken_by = held[0]
                    return
                elif held is None:
                    self._folder.create(LEASE_NAME, _payload(self._mine))
                else:  # a renewal whose answer was lost
                    self._mine = held[0]


def holder_of(folder: Folder) -> Holder | None:
    """Who holds the lease of a folder, if anybody does."""
    held = Lease(folder)._read()
    return held[0] if held else None


def _payload(holder: Holder) -> bytes:
    return canonical_json(asdict(holder), LEASE_NAME)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine() -> str:
    """Names the process ids of this machine: two containers on one kernel have different ones."""
    parts = []
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        try:
            parts.append(read())
        except OSError:  # not Linux: nothing is known of any process, so every lease is watched
            return secrets.token_hex(8)
    return " ".join(parts)


def _process(pid: int) -> str:
    """When a process began, in ticks since the boot, so that a number that came again is another; "" if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
