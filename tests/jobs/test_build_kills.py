"""Builds on a cluster whose processes are killed at random moments, into a folder and into a bucket: the bytes of an
undisturbed build, nothing doubled or lost, and nothing temporary left.

BUILD_KILL_ROUNDS=20 plays so many rounds for each kind of place; `make soak` does. Without it none is played here: a
build killed twice is in `test_many_processes`, one stopped at every change of a store in `test_build_to_a_store`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from on_cluster import wait_for
from short_runs import written
from test_elastic import NOTICED_SOON, lose, machines_of
from toy_jobs import build_here

from demo.ray_head import AGENT_PORTS, BIN, RayHead, free_ports
from pipeline.building.lease import holder_of
from shards.storage import staging
from shards.storage.storage import Folder, RemoteFolder, open_folder
from shards.verify import find_faults
from tests.pipeline.toys import digests
from tests.s3_server import BUCKET, KEY, SECRET, S3Server

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, SEED = (int(os.environ.get(f"BUILD_KILL_{name}", 0)) for name in ("ROUNDS", "SEED"))
PICTURES, PER_SHARD, PICTURE_S, ACTORS = 220, 16, 0.08, 2
BUILD_S = PICTURES * PICTURE_S / (2 * ACTORS)  # each actor builds two shards at once
MOST_KILLS, MOST_ATTEMPTS, PATIENCE_S, SETTLED_S = 3, 8, 240, 3

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not ROUNDS, reason="an hour of builds that are killed: make soak, or BUILD_KILL_ROUNDS=N"),
]


def settings(out: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "many",
        "source": {"name": "tests.jobs.many_pictures", "pictures": PICTURES, "seconds": PICTURE_S},
        "splits": ["train"],
        "views": {"name": "exact", "size": 32},
        "image": {"name": "tests.jobs.plain_encoder"},
        "out": out,
        "settings": {
            "records_per_shard": PER_SHARD,
            "image_batch": 4,
            "decode_threads": 1,
            "decode_ahead": 2,
            "max_rejects": 0.5,
        },
        "resources": {"actors": ACTORS, "cpus_per_actor": 1},
        **more,
    }


@dataclass
class Cluster:
    """A head that runs nothing and a machine beside it that does; either can be lost, and comes back."""

    env: dict[str, str]
    head: RayHead = field(init=False)
    machine: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        self.head = RayHead(ROOT, num_cpus=0, env=self.env).__enter__()
        self.join()

    def join(self) -> None:
        ports = [f"--{name}={port}" for name, port in zip(AGENT_PORTS[1:], free_ports(3), strict=True)]
        command = [str(BIN / "ray"), "start", f"--address={self.head.address}", "--block", f"--num-cpus={ACTORS}"]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--disable-usage-stats", *ports]
        self.machine = subprocess.Popen(
            command, env=self.head.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def mend(self) -> None:
        """A machine that nobody killed can end, too: on a busy computer Ray gives up while it starts, and for ever."""
        if self.machine.poll() is not None:
            print(f"a machine ended by itself ({self.machine.returncode}) and is started again", flush=True)
            lose(self.machine)
            self.join()

    def is_whole(self) -> bool:
        """Whether head and machine are there."""
        self.mend()
        return machines_of(self.head) >= 2

    def end(self) -> None:
        lose(self.machine)
        self.head.stop()

    def processes(self, name: str) -> list[Any]:
        """Of the machine, whose command line holds `name`."""
        import psutil  # Ray carries it in a folder that its own import puts on the path

        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.machine.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if name in " ".join(process.cmdline()):
                        found.append(process)
        return found


def actor(cluster: Cluster, driver: subprocess.Popen[bytes], moments: random.Random) -> int:
    """How many processes were killed."""
    actors = cluster.processes("ray::EncoderActor")
    if actors:
        moments.choice(actors).kill()
    return min(len(actors), 1)


def raylet(cluster: Cluster, driver: subprocess.Popen[bytes], moments: random.Random) -> int:
    """Its workers end by themselves, at some moment; another machine joins."""
    raylets = cluster.processes("raylet/raylet")
    for process in raylets:
        process.kill()
    if raylets:
        cluster.join()
    return len(raylets)


def machine(cluster: Cluster, driver: subprocess.Popen[bytes], moments: random.Random) -> int:
    """Everything on it at once."""
    lose(cluster.machine)
    cluster.join()
    return 1


def only_driver(cluster: Cluster, driver: subprocess.Popen[bytes], moments: random.Random) -> int:
    """Its actors end by themselves, at some moment."""
    driver.kill()
    return 1


def driver_and_actor(cluster: Cluster, driver: subprocess.Popen[bytes], moments: random.Random) -> int:
    driver.kill()
    return 1 + actor(cluster, driver, moments)


def everything(cluster: Cluster, driver: subprocess.Popen[bytes], moments: random.Random) -> int:
    """As where the power fails; another cluster is started."""
    driver.kill()
    lose(cluster.machine)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(cluster.head.pid, signal.SIGKILL)
    cluster.head.stop()
    cluster.start()
    return 3


KINDS: tuple[Callable[[Cluster, subprocess.Popen[bytes], random.Random], int], ...] = (
    actor,
    raylet,
    machine,
    only_driver,
    driver_and_actor,
    everything,
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a build in this process gives."""
    out = tmp_path_factory.mktemp("undisturbed")
    source = {"name": "tests.jobs.many_pictures", "pictures": PICTURES}
    build_here(settings(str(out), source=source, resources={"cpus_per_actor": 1}))
    found = digests(out / "many-train")
    assert sum(name.endswith(".tar") for name in found) >= 10
    return found


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Kills that hit a build under way, by kind; said at the end."""
    counted: Counter[str] = Counter()
    yield counted
    print(f"\n{sum(counted.values())} kills: {dict(counted)}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    temporary = tmp_path_factory.mktemp("temporary")
    env = {**NOTICED_SOON, "TMPDIR": str(temporary), "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    made = Cluster(env)
    made.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "staging_root", lambda: temporary / f"shard-staging-{os.getuid()}")
        yield made
    made.end()


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_build_that_is_killed_again_and_again_has_the_bytes_of_an_undisturbed_one(
    place: str,
    number: int,
    cluster: Cluster,
    undisturbed: dict[str, str],
    tally: Counter[str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    moments = random.Random(f"{SEED} {place} {number}")
    out, more, options = str(tmp_path / "out"), dict[str, Any](), dict[str, str]()
    if place == "bucket":
        server: S3Server = request.getfixturevalue("s3_server")
        options = server.options
        out = f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
        more = {"storage": {"endpoint": options["endpoint"], "region": options["region"]}}
    config = written(tmp_path / "build.yaml", settings(out, **more))
    folder = open_folder(f"{out}/many-train", storage_options=options)

    kinds = [KINDS[number % len(KINDS)], *moments.choices(KINDS, k=moments.randrange(MOST_KILLS))]
    hit, attempts = played(cluster, config, folder, kinds, moments, tmp_path / "said")
    tally.update(hit)
    print(f"\n{place} {number}: {', '.join(hit) or 'missed'}; {attempts} attempts", flush=True)

    time.sleep(SETTLED_S)  # for those that nobody killed, and that have nothing to build for any more
    assert contents(folder) == undisturbed
    assert all_below(open_folder(out, storage_options=options)) == {f"many-train/{name}" for name in undisturbed}
    assert list(find_faults(folder)) == []
    staging.sweep_staging()
    assert [path.name for path in staging.staging_root().glob("*")] == []


def played(
    cluster: Cluster, config: str, folder: Folder, kinds: list[Any], moments: random.Random, said: Path
) -> tuple[list[str], int]:
    """Run the build until it is done, and kill meanwhile; (kinds of what was killed, how often it was started)."""
    hit: list[str] = []
    for attempt in range(1, MOST_ATTEMPTS + 1):
        wait_for(cluster.is_whole, PATIENCE_S)
        with said.open("ab") as log:
            driver = subprocess.Popen(
                [sys.executable, "jobs/build_shards.py", "--config", config],
                cwd=ROOT,
                env={**cluster.head.env, "RAY_ADDRESS": cluster.head.address, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        while kinds:
            wait_for(partial(has_begun_or_ended, driver, folder), PATIENCE_S)
            left = 1 - sum(name.endswith(".tar") for name in folder.names("*.tar")) * PER_SHARD / PICTURES
            time.sleep(moments.random() * BUILD_S * max(left, 0.1))
            if driver.poll() is not None:
                break
            kind = kinds.pop(0)
            if kind(cluster, driver, moments):
                hit.append(kind.__name__)
        try:
            wait_for(partial(has_ended, driver, cluster), PATIENCE_S)
        except AssertionError:
            driver.kill()
            pytest.fail(f"the build stands still: {said.read_text()[-4000:]}")
        if driver.returncode == 0:
            return hit, attempt
    pytest.fail(f"not done after {MOST_ATTEMPTS} attempts: {said.read_text()[-6000:]}")


def has_begun_or_ended(driver: subprocess.Popen[bytes], folder: Folder) -> bool:
    """Whether this driver has the set, or is no more."""
    holder = holder_of(folder)
    return driver.poll() is not None or (holder is not None and holder.pid == driver.pid)


def has_ended(driver: subprocess.Popen[bytes], cluster: Cluster) -> bool:
    """Looked for once a second, and at the machines meanwhile."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(1)
        return True
    cluster.mend()
    return False


def contents(folder: Folder) -> dict[str, str]:
    """sha256 by name, as `digests` of a folder gives them."""
    if isinstance(folder, RemoteFolder):
        return {name: hashlib.sha256(folder.store.read(name)).hexdigest() for name in folder.store.names()}
    return digests(Path(str(folder)))


def all_below(folder: Folder) -> set[str]:
    return set(contents(folder))
