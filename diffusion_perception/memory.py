"""How much memory a piece of work may take, asked before it starts.

Owns the question to the machine (what is available, inside a container's limit) and the refusal with the estimate. How
much a piece of work takes is said by whoever does it.
"""

from __future__ import annotations

from pathlib import Path

from shards.errors import Reject

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def check_fits(needed_bytes: float, limit_bytes: float, what: str) -> None:
    """Refuse work that does not fit.

    Args:
        limit_bytes: > 0: what it may take; 0: what the machine has available now.

    Raises:
        Reject: it does not fit; the message holds the estimate.
    """
    allowed = limit_bytes or available_bytes()
    if allowed is not None and needed_bytes > allowed:
        whose = "memory_gb allows" if limit_bytes else "available here are"
        raise Reject(
            f"{what} takes about {needed_bytes / 1e9:.1f} GB to predict, {whose} {allowed / 1e9:.1f} GB. Make the "
            "picture smaller, cut it into parts, or use a machine with more memory"
        )


def available_bytes() -> int | None:
    """Memory that a process can still take without swapping; None where nothing says so (Linux does)."""
    found = [size for size in (_of_machine(), _of_container()) if size is not None]
    return min(found) if found else None


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None


def _of_container() -> int | None:
    for limit, used in zip(_LIMITS, _USED, strict=True):
        try:
            return max(int(Path(limit).read_text()) - int(Path(used).read_text()), 0)
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None
