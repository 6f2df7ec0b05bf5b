"""What is said of a long piece of work: never a time that cannot be known, and not too often."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

from shards.progress import Progress, duration


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (45, "45 s"),
        (59.5, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (86399, "23 h 59 min"),
        (4 * 86400 + 3 * 3600, "4 d 03 h"),
    ],
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nothing_is_said_of_a_rate_that_is_not_known() -> None:
    clock = Clock()
    work = Progress(400, "records", clock=clock)
    assert work.text(0) == "0/400 records"
    assert work.text(3) == "3/400 records"  # no time has passed that a rate could be of
    clock.now_s += 40
    assert work.text(0) == "0/400 records"
    assert work.left_s(0) is None


def test_rate_and_time_left_are_of_the_mean_so_far() -> None:
    clock = Clock()
    work = Progress(400, "records", clock=clock)
    clock.now_s += 40
    assert work.text(100) == "100/400 records, 2.5 records/s, 2 min 00 s left"
    assert work.text(400) == "400/400 records, 10 records/s"
    clock.now_s -= 39.9
    assert work.text(150).startswith("150/400 records, 1,500 records/s, 1 s left")


def test_an_empty_piece_of_work_is_done() -> None:
    assert Progress(0, "shards", clock=Clock()).text(0) == "0/0 shards"


def test_reports_are_some_seconds_apart() -> None:
    clock = Clock()
    work = Progress(10, "frames", clock=clock)
    said = []
    for done in range(1, 11):
        clock.now_s += 4
        said.append(bool(work.due(done)))
    assert said == [False, False, True] * 3 + [False]
    assert Progress(10, "frames", clock=clock).due(10) == ""


REPORTS = """
import time
from shards.progress import reports
report = reports("[verify]", "shards")
for done in range(1, 5):
    time.sleep(0.4)
    report(done, 4)
print("sound")
"""


def test_a_terminal_sees_one_moving_line_and_a_file_plain_ones() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    subprocess.run([sys.executable, "-c", REPORTS], stdout=theirs, check=True)
    os.close(theirs)
    seen = os.read(ours, 100_000).decode()
    os.close(ours)
    *moving, last = seen.splitlines()
    assert last == "sound"
    assert "[verify]: 100%" in "".join(moving)
    assert "4/4" in "".join(moving)
    assert "\r" in seen.replace("\r\n", "")
    plain = subprocess.run([sys.executable, "-c", REPORTS], stdout=subprocess.PIPE, check=True, text=True)
    assert plain.stdout == "sound\n", "nothing is said of what takes less than ten seconds"
