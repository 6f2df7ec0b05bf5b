"""A server that speaks as much of MLflow's REST API as one run needs, and fails or keeps silent when it is told to.

What a run looks like afterwards is read from a real store in the tests; this one is for faults.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, MlflowServer)
        called = self.path.partition("?")[0].rpartition("/mlflow/")[2]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.heard.append((called, self.headers.get("Authorization", "")))
        server.answers.wait(60)
        status = server.status if called in server.answer else 404
        body = json.dumps(server.answer.get(called, {}) if status == 200 else {"message": server.says}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the console of the tests."""


class MlflowServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, artifacts: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.heard: list[tuple[str, str]] = []  # (what was called, Authorization)
        self.status, self.says = 200, ""
        self.answers = threading.Event()
        self.answers.set()
        info = {"run_id": "r", "experiment_id": "1", "status": "RUNNING", "lifecycle_stage": "active"}
        run = {"run": {"info": {**info, "artifact_uri": artifacts.as_uri()}, "data": {}}}
        self.answer: dict[str, Any] = {
            "experiments/get-by-name": {"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}},
            "runs/search": {},
            "runs/create": run,
            "runs/get": run,
            "runs/log-batch": {},
            "runs/set-tag": {},
            "runs/update": {"run_info": run["run"]["info"]},
        }

    def calls(self, name: str) -> int:
        return sum(called == name for called, _ in self.heard)


@contextmanager
def serving(artifacts: Path) -> Iterator[MlflowServer]:
    with MlflowServer(artifacts) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.answers.set()
            server.shutdown()
            thread.join()
