"""A private Ray head node on this machine, for the demo and the tests, and `ray job submit` against it.

Owns free ports, a quiet environment and a clean end: the head runs in the foreground of a child process (`--block`), so
ending that child ends every process of this cluster and none of another one (`ray stop` would end them all).
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

BIN = Path(sys.executable).parent
# Ray's fixed defaults for these keep a second cluster's agent from starting, and with it every job submission.
AGENT_PORTS = (
    "ray-client-server-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
)


def free_ports(n: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class RayHead:
    """A running head node; use as a context manager.

    Args:
        cwd: folder the head is started in: where relative commands of submitted jobs start from.
        num_cpus: logical CPUs the cluster offers.
        env: variables added to the head's environment, which its jobs inherit.
    """

    def __init__(self, cwd: Path, num_cpus: int = 2, env: Mapping[str, str] | None = None) -> None:
        self.cwd = cwd
        self.num_cpus = num_cpus
        self._port, self._dashboard_port, *ports = free_ports(2 + len(AGENT_PORTS))
        self._agent_ports = dict(zip(AGENT_PORTS, ports, strict=True))
        self._temp = tempfile.mkdtemp(prefix="ray_", dir="/tmp")  # short: Ray's socket paths are limited
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "RAY_AUTH_MODE": "disabled",  # loopback only
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        self.api = f"http://127.0.0.1:{self._dashboard_port}"
        self.address = f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        command = [
            str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1",
            f"--port={self._port}", f"--dashboard-port={self._dashboard_port}", "--dashboard-host=127.0.0.1",
            *(f"--{name}={port}" for name, port in self._agent_ports.items()),
            f"--num-cpus={self.num_cpus}",
            f"--temp-dir={self._temp}", "--object-store-memory=300000000", "--disable-usage-stats",
        ]  # fmt: skip
        self._log = Path(self._temp, "head.log").open("wb")
        self._process = subprocess.Popen(
            command, cwd=self.cwd, env=self.env, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            self._wait_until_up(timeout_s=180)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process that all others of this cluster descend from."""
        return self._process.pid

    def stop(self) -> None:
        """End every process of this cluster and remove its files."""
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        # Whatever did not follow the polite request shares the session of the child.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._temp, ignore_errors=True)

    def submit(
        self,
        *words: str,
        options: Sequence[str] = (),
        cwd: Path | None = None,
        echo: TextIO | None = None,
        silent_s: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """`ray job submit <options> <words>`; returns exit status and output, which also goes to `echo`, line by line.

        A job may take as long as it likes on a busy machine; one that says nothing for `silent_s` is given up, and the
        output ends with that. Where the head does not know the node's agent yet, it is asked again, as long as that.
        """
        deadline = time.monotonic() + silent_s
        while True:
            job = self._submit_once([*options, *words], cwd or self.cwd, echo, silent_s)
            if job.returncode == 0 or "No available agent to submit job" not in job.stdout:
                return job
            if time.monotonic() > deadline:
                return job
            time.sleep(2)

    def _submit_once(
        self, words: Sequence[str], cwd: Path, echo: TextIO | None, silent_s: float
    ) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "ray"), "job", "submit", f"--address={self.api}", *words]
        return run_until_silent(command, cwd, self.env, echo, silent_s)

    def _wait_until_up(self, timeout_s: float) -> None:
        """Until the head answers and, which comes later, the node's agent says that its raylet is well."""
        agent = f"http://127.0.0.1:{self._agent_ports['dashboard-agent-listen-port']}"
        awaited = [f"{self.api}/api/version", f"{agent}/api/local_raylet_healthz"]
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(awaited[0], timeout=2):
                    del awaited[0]
                if not awaited:
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.3)
        tail = Path(self._temp, "head.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the Ray head did not come up within {timeout_s:g} s. Its last words:\n{tail}")


def run_until_silent(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], echo: TextIO | None, silent_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, or until it has said nothing for `silent_s`; output and errors in one text."""
    process = subprocess.Popen(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said: queue.SimpleQueue[str] = queue.SimpleQueue()  # an empty text: nothing more will come
    lines: list[str] = []

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.put(line)
        said.put("")

    threading.Thread(target=listen, daemon=True).start()
    with contextlib.suppress(queue.Empty):
        while line := said.get(timeout=silent_s):
            lines.append(line)
            if echo:
                print(line.rstrip(), file=echo, flush=True)
        return subprocess.CompletedProcess(command, process.wait(), "".join(lines), "")
    process.kill()
    lines.append(f"given up: nothing was said for {silent_s:g} s\n")
    if echo:
        print(lines[-1].rstrip(), file=echo, flush=True)
    return subprocess.CompletedProcess(command, process.wait(), "".join(lines), "")
