"""A bus error that is not the reader's, while it reads: it goes to whoever had it before, every time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shards.native.compiling import compiler
from shards.native.library import library

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(library() is None or not compiler(), reason="nothing is compiled here")

HANDLERS = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static struct sigaction ours;
static char *page;
volatile int found, passed_on, informed;

static void mend(void) { /* a page of memory where the file ended */
    struct sigaction now;
    sigaction(SIGBUS, NULL, &now);
    found++;
    passed_on += now.sa_handler != ours.sa_handler;
    mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}
static void plain(int number) { if (number == SIGBUS) mend(); }
static void with_info(int number, siginfo_t *info, void *context) {
    informed += number == SIGBUS && info->si_addr == page && context != NULL;
    mend();
}
void install(int informed_one) {
    memset(&ours, 0, sizeof ours);
    if (informed_one) ours.sa_sigaction = with_info, ours.sa_flags = SA_SIGINFO;
    else ours.sa_handler = plain;
    sigaction(SIGBUS, &ours, NULL);
}
int touch(int descriptor) { /* of an empty file */
    page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, descriptor, 0);
    int value = *(volatile char *)page;
    munmap(page, 4096);
    return value;
}
"""

CHILD = """
import ctypes, faulthandler, signal, sys, threading, time
from pathlib import Path
import numpy as np
from shards.native.library import library

folder, kind = Path(sys.argv[1]), sys.argv[2]
other, native = ctypes.CDLL(str(folder / "other.so")), library()
(folder / "file").write_bytes(bytes(4096))
(folder / "empty").write_bytes(b"")
file, empty = (folder / "file").open("rb"), (folder / "empty").open("rb")
if kind in ("plain", "informed"):
    other.install(kind == "informed")
elif kind == "faulthandler":
    faulthandler.enable()
elif kind == "ignored":
    signal.signal(signal.SIGBUS, signal.SIG_IGN)
count, read, done = 100_000, [], threading.Event()
address = native.map_file(file.fileno(), 4096)
files = np.array([[file.fileno(), address, 4096]] * count, np.int64).tobytes()
starts, target = np.zeros(count, np.int64), np.zeros(16 * count, np.uint8)
column = np.array([[starts.ctypes.data, 0, 0, target.ctypes.data, 16]], np.int64).tobytes()

def keep_reading():
    while not done.is_set():
        read.append(native.read_rows(count, 1, column, files, 0))

thread = threading.Thread(target=keep_reading)
thread.start()
while not read:
    time.sleep(0.001)
if kind == "late":  # over ours, and ours over it at the next read
    faulthandler.enable()
    before = len(read)
    while len(read) < before + 3:
        time.sleep(0.001)
value = lambda name: ctypes.c_int.in_dll(other, name).value
until = time.monotonic() + 20
for _ in range(100_000):
    if kind == "sent" or kind == "ignored":
        signal.raise_signal(signal.SIGBUS)
    else:
        assert other.touch(empty.fileno()) == 0
    if value("passed_on") >= 5 or time.monotonic() > until:
        break
    if kind == "ignored" and len(read) > 5:
        break
before = len(read)
while len(read) < before + 2:
    time.sleep(0.001)
done.set()
thread.join()
assert set(read) == {count}
print(value("found"), value("passed_on"), value("informed"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("handlers")
    (made / "other.c").write_text(HANDLERS)
    words = [*compiler(), "-O1", "-shared", "-fPIC", "-w", "other.c", "-o", "other.so"]
    subprocess.run(words, cwd=made, check=True)
    return made


def ran(folder: Path, kind: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CHILD, str(folder), kind]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("kind", ["plain", "informed"])
def test_a_handler_that_was_there_is_called_and_reading_goes_on(folder: Path, kind: str) -> None:
    done = ran(folder, kind)
    assert done.returncode == 0, done.stderr
    found, passed_on, informed = map(int, done.stdout.split())
    assert passed_on >= 5, "by the reader's handler, which stays"
    assert informed == (found if kind == "informed" else 0)


@pytest.mark.parametrize("kind", ["nobody", "sent", "faulthandler", "late"])
def test_where_nobody_mends_it_the_process_ends_by_it(folder: Path, kind: str) -> None:
    done = ran(folder, kind)
    assert done.returncode == -signal.SIGBUS, done.stderr
    assert ("Fatal Python error: Bus error" in done.stderr) == (kind in ("faulthandler", "late"))
    assert done.stderr.count("Fatal Python error") <= 1


def test_one_that_is_sent_and_ignored_changes_nothing(folder: Path) -> None:
    done = ran(folder, "ignored")
    assert done.returncode == 0, done.stderr
