"""The console command `diffusion-perception`: one name for all commands.

    diffusion-perception train --task refer            the same as python jobs/train.py --task refer
    diffusion-perception train --help                  every setting of a command
    diffusion-perception --help                        the commands

Owns which commands there are. A command is a module of this package with `run(words)`; only the one that is asked for
is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from diffusion_perception.settings.source_text import summary_of_module
from jobs import program
from shards.errors import ConfigError, did_you_mean

NAME = "diffusion-perception"
COMMANDS = {
    "init": "jobs.init",
    "check": "jobs.check",
    "data": "jobs.data",
    "build": "jobs.build_shards",
    "set": "jobs.set",
    "train": "jobs.train",
    "evaluate": "jobs.evaluate",
    "predict": "jobs.predict",
    "ui": "jobs.ui",
    "report": "jobs.report",
    "publish": "jobs.publish",
    "features": "jobs.features",
    "labels": "jobs.label_latents",
    "probe": "jobs.probe",
    "picture": "jobs.picture",
    "convert": "jobs.convert_checkpoint",
    "prompts": "jobs.build_prompts",
    "extract": "jobs.extract_nyuv2",
    "schema": "jobs.schema",
}


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the first word names."""
    first, *rest = [*(sys.argv[1:] if words is None else words), ""]
    if first in ("", "--help", "-h", "help"):
        print(overview())
        sys.exit(0 if first else program.REFUSED)
    if first == "--version":
        from shards.native.library import reading_with  # not before every command

        print(f"{NAME} {installed_version()}\nrows are read with {reading_with()}")
        sys.exit(0)
    if first not in COMMANDS:
        known = f"Commands: {', '.join(COMMANDS)}. `{NAME} --help` says what they do."
        sys.exit(program.refused(ConfigError(f"no command '{first}'.{did_you_mean(first, COMMANDS)} {known}")))
    sys.exit(program.status(COMMANDS[first], rest[:-1]))


def overview() -> str:
    """The commands, one a line."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{summary_of_module(module)}" for name, module in COMMANDS.items()]
    return "\n".join(
        [f"{NAME} COMMAND [settings]", "", *lines, "", f"{NAME} COMMAND --help lists the settings of a command."]
    )


def installed_version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "(run from a folder, not installed)"


if __name__ == "__main__":
    main()
