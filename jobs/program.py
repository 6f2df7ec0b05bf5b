"""A command as a program: its words in, one clear message and an exit status out.

Knows no Ray: commands that need no cluster work where Ray is not installed. What a word means is `command_line`'s.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jobs import help_text, interruption
from shards.errors import ContractError, Interrupted

REFUSED, INTERRUPTED = 1, 130


def main(module: str) -> NoReturn:
    """Run a job file as a program.

    The job runs under its module's name and not as `__main__`, so that workers can import what it sends them.
    """
    sys.exit(status(module, sys.argv[1:]))


def status(module: str, words: Sequence[str]) -> int:
    """Run a job's words; a known error is one message on stderr."""
    try:
        job = importlib.import_module(module)
        if help_text.asked_for(words):
            return _shown(help_text.help_of(job, words))
        job.run(list(words))
    except KeyboardInterrupt:
        print("\ninterrupted: what is finished is kept", file=sys.stderr, flush=True)
        return INTERRUPTED
    except Interrupted as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return interruption.TERMINATED
    except ContractError as error:
        return refused(error)
    except _worker_errors() as error:  # arrives wrapped; what a person needs is its cause
        if not isinstance(error.cause, ContractError):
            raise
        return refused(error.cause)
    return 0


def _shown(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def refused(error: BaseException) -> int:
    """Say what is wrong; the exit status."""
    print(f"\n{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return REFUSED


def _worker_errors() -> Any:
    """Ray's wrapper of a worker's error; nothing where no one has loaded Ray."""
    loaded = sys.modules.get("ray.exceptions")
    return (loaded.RayTaskError,) if loaded else ()
