"""What the tests that feed readers with damaged and hostile files share: how many, how damaged, and what is allowed.

    DIFFUSION_PERCEPTION_FUZZ=1 pytest -q -n 0 -k fuzz      the long form, about 4,000 cases in some minutes

Without it every such test takes a fortieth of its cases, always the same ones.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from shards.errors import ContractError

T = TypeVar("T")

LONG = bool(os.environ.get("DIFFUSION_PERCEPTION_FUZZ"))
MOST_S = 10.0  # of CPU a case
MOST_BYTES = 1 << 30  # that the process may grow by
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect")
_watched: list[Path] = []  # where files may be opened, while a case runs
_seen: list[str] = []


def cases(number: int) -> settings:
    """Settings of a test of so many cases in the long form."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=number if LONG else max(5, number // 40),
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=checks,
    )


def damaged(payload: bytes) -> st.SearchStrategy[bytes]:
    """The bytes of a file with one to four things done to it."""
    places = st.integers(0, max(0, len(payload) - 1))
    edges = st.sampled_from(
        [0, 1, 127, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
    )
    numbers = st.builds(lambda n, size: (n % 256**size).to_bytes(size, "little"), edges, st.sampled_from([1, 2, 4, 8]))
    pieces = st.one_of(st.binary(min_size=1, max_size=16), numbers)
    once = st.one_of(
        st.tuples(st.just("put"), places, pieces),
        st.tuples(st.just("insert"), places, pieces),
        st.tuples(st.just("remove"), places, st.integers(1, 64)),
        st.tuples(st.just("copy"), places, places),
        st.tuples(st.just("cut"), places, st.none()),
    )

    def apply(steps: list[tuple[str, int, Any]]) -> bytes:
        changed = bytearray(payload)
        for step, at, what in steps:
            if step == "put":
                changed[at : at + len(what)] = what
            elif step == "insert":
                changed[at:at] = what
            elif step == "remove":
                del changed[at : at + what]
            elif step == "copy":
                changed[at : at + 64] = changed[what : what + 64]
            else:
                del changed[at:]
        return bytes(changed)

    return st.lists(once, min_size=1, max_size=4).map(apply)


def outcome(read: Callable[[], T], *folders: Path) -> T | ContractError:
    """What reading gives, or our error. AssertionError: files opened that are not below `folders`, code started, too
    much time or memory."""
    before_s, before_bytes = time.process_time(), _resident_bytes()
    with _only_below(*folders):
        try:
            found: T | ContractError = read()
        except ContractError as error:
            found = error
    assert time.process_time() - before_s < MOST_S
    assert _resident_bytes() - before_bytes < MOST_BYTES
    return found


def _resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _only_below(*folders: Path) -> Iterator[None]:
    _watched[:] = folders
    _seen.clear()
    try:
        yield
    finally:
        _watched.clear()
    assert not _seen, f"did what no file may ask for: {_seen[:3]}"


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event.startswith(_FORBIDDEN):
        _seen.append(f"{event} {arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        own = any(path == str(folder) or path.startswith(f"{folder}/") for folder in _watched)
        if not own and not path.startswith((sys.prefix, sys.base_prefix, str(_ROOT), "/proc/", "/dev/", "/usr/lib")):
            _seen.append(f"open {path}")


_ROOT = Path(__file__).resolve().parents[1]  # modules are imported while a case runs
sys.addaudithook(_watch)
