"""Commands of the demo are waited for as long as they say something."""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from demo.ray_head import run_until_silent


def run(code: str, silent_s: float, echo: TextIO | None = None) -> tuple[int, str]:
    ended = run_until_silent([sys.executable, "-u", "-c", code], Path.cwd(), os.environ, echo, silent_s)
    return ended.returncode, ended.stdout


def test_one_that_talks_may_take_longer_than_the_silence_allowed() -> None:
    talks = "import time, sys\nfor i in range(8): print(i); time.sleep(0.2)\nsys.exit(3)"
    assert run(talks, silent_s=1.0) == (3, "".join(f"{i}\n" for i in range(8)))


def test_one_that_hangs_is_given_up_and_that_is_said() -> None:
    said = io.StringIO()
    began = time.monotonic()
    status, output = run("import time; print('begun'); time.sleep(60)", silent_s=1.0, echo=said)
    assert time.monotonic() - began < 30
    assert status == -9
    assert output == "begun\ngiven up: nothing was said for 1 s\n"
    assert said.getvalue() == output
