"""Every command, from settings and data that work, with ONE thing broken: it works as before, or says what is wrong.

`ONE_FAULT_EXAMPLES=1000` tries other examples, and so many; `ONE_FAULT_SEED` others again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from one_fault import KINDS, broken, leaves, values_of
from working_commands import Command, commands, fresh, outcome, write_world

from diffusion_perception import places
from shards import errors

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = 12
EXAMPLES = int(os.environ.get("ONE_FAULT_EXAMPLES", str(COMMITTED)))
OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
COMMANDS = commands()
SEALED = ("sets/", "runs/")  # their files carry hashes, so that a broken one is noticed wherever it is used
PLACEMENT = {"run.workers", "workers", "run.out", "out", "into"}  # needs a cluster, or writes where it is told to
both = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    derandomize=EXAMPLES == COMMITTED,
    database=None,
    phases=[Phase.generate],  # an example takes a second: not shrunk
)
chosen_seed = seed(int(os.environ.get("ONE_FAULT_SEED", "0"))) if EXAMPLES != COMMITTED else lambda test: test


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_sd: Path) -> Iterator[Path]:
    """A folder where every command works, as the working directory of an installed package."""
    root = tmp_path_factory.mktemp("one-fault")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(root):
        patch.setattr(places, "CHECKOUT", None)
        patch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nothing answers there
        patch.setenv("COLUMNS", "200")
        write_world(root, tiny_sd)
        yield root


@pytest.fixture(scope="module")
def whole(world: Path) -> dict[str, Any]:
    """What each command finds out where nothing is broken."""
    return {}


def right(name: str, whole: dict[str, Any]) -> Any:
    """The result of a command where nothing is broken, computed once."""
    if name not in whole:
        with fresh(name):
            status, said = outcome(COMMANDS[name])
            assert status == 0, f"{name}, with nothing broken: {said}"
            whole[name] = COMMANDS[name].result()
    return whole[name]


def check_ending(command: Command, status: int, said: str, interrupted: bool = False) -> None:
    """A refusal is one message, of one of our classes.

    Args:
        interrupted: it may have been: a setting may ask for more than the test has time for, a broken file may not.
    """
    if status == 0 or (interrupted and status == 130):
        return
    assert status == 1, f"{command.words} ended with {status}: {said}"
    kind, _, message = said.strip().splitlines()[-1].partition(": ") if said.strip() else ("", "", "")
    first = next((line for line in said.splitlines() if line.partition(":")[0] in OURS), "")
    assert first, f"{command.words}: no message of ours: {said!r}, {kind}, {message}"
    assert len(first.partition(": ")[2]) > 10, f"{command.words}: a message that says nothing: {said!r}"
    assert "Traceback" not in said


@st.composite
def faults(draw: st.DrawFn) -> tuple[str, float, str, float]:
    name = draw(st.sampled_from(sorted(COMMANDS)))
    return name, draw(st.floats(0, 1, exclude_max=True)), draw(st.sampled_from(KINDS)), draw(st.floats(0, 1))


def files_of(command: Command) -> list[Path]:
    found = []
    for place in map(Path, command.reads):
        found += [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return found


@both
@chosen_seed
@given(fault=faults())
def test_a_broken_file_is_named_or_does_not_matter(
    fault: tuple[str, float, str, float], world: Path, whole: dict[str, Any]
) -> None:
    name, which, kind, at = fault
    command = COMMANDS[name]
    with fresh(name):
        files = files_of(command)
        path = files[int(which * len(files))]
        with broken(path, kind, at, world.parent / f"{world.name}-aside"):
            status, said = outcome(command, longest_s=120)
        check_ending(command, status, said)
        if status == 0 and str(path).startswith(SEALED):
            found = command.result()
            assert found == right(name, whole), f"{path} ({kind}) changed what {name} found, and nothing was said"


SETTINGS = {
    schema: sorted(set(leaves(json.loads((ROOT / "docs/schemas" / f"{schema}.schema.json").read_text()))))
    for schema in sorted({command.schema for command in COMMANDS.values()})
    if (ROOT / "docs/schemas" / f"{schema}.schema.json").is_file()
}


@st.composite
def odd_settings(draw: st.DrawFn) -> tuple[str, str]:
    name = draw(st.sampled_from([name for name in sorted(COMMANDS) if COMMANDS[name].schema in SETTINGS]))
    known = [pair for pair in SETTINGS[COMMANDS[name].schema] if pair[0] not in PLACEMENT]
    setting, kind = draw(st.sampled_from(known))
    return name, f"{setting}={draw(st.sampled_from(values_of(kind)))}"


@both
@chosen_seed
@given(odd=odd_settings())
def test_an_odd_setting_is_refused_or_works(odd: tuple[str, str], world: Path) -> None:
    name, word = odd
    with fresh(name):
        status, said = outcome(COMMANDS[name], (word,))
    check_ending(COMMANDS[name], status, said, interrupted=True)
