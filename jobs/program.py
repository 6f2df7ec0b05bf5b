"""A command as a program: its words in, one clear message and an exit status out.

Knows no Ray: commands that need no cluster work where Ray is not installed. A job file with a `FAMILY` is several
commands, named by their first word. What a word means is `command_line`'s.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

from jobs import help_text, interruption
from shards.errors import ConfigError, ContractError, Interrupted, did_you_mean

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
        if family := getattr(job, "FAMILY", None):
            return _status_of_family(job, family, words)
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


def _status_of_family(job: ModuleType, family: Mapping[str, str], words: Sequence[str]) -> int:
    """Run the tool that the first word names, a job of its own."""
    name = words[0] if words else ""
    if name in family:
        return status(family[name], words[1:])
    if help_text.asked_for([name]):
        return _shown(help_text.of_family(job, family))
    known = f"Tools: {', '.join(family)}."
    said = f"no tool '{name}'.{did_you_mean(name, family)} {known}" if name else f"say which tool. {known}"
    return refused(ConfigError(f"{job.__name__.rpartition('.')[2]}: {said}"))


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
