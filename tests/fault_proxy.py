"""A web proxy on loopback that does to answers, and to what is sent, what networks do.

It passes every request on unchanged, Host header and all, since S3 signs that. A `Fault` waits for a request whose
path ends as it says, happens so many times, and is counted.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("cut", "stall", "flip", "503")
STALL_S = 5.0
EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"  # as S3 says it


@dataclass
class Fault:
    """Something that happens to the next `times` requests (`method`, path ending in `name`)."""

    kind: str  # cut: half of the body; stall: half, then nothing; flip: one byte; 503: no service; expired
    name: str = ""
    times: int = 1
    method: str = "GET"
    happened: int = 0


class FaultProxy:
    """Listens on `port`, and passes on to `upstream`; `requests` are (method, path) of all it was sent."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def fault_of(self, method: str, path: str) -> str:
        """The fault of this request, or ''."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.happened < fault.times and fault.method == method and path.split("?")[0].endswith(fault.name):
                    fault.happened += 1
                    return fault.kind
        return ""


@contextmanager
def proxy_before(upstream: int) -> Iterator[FaultProxy]:
    """A proxy before a server of this machine."""
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()


def _handler_for(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            """Nothing: a test's output is its own."""

        def pass_on(self) -> None:
            fault = proxy.fault_of(self.command, self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if fault == "503":
                self._answer(503, [], b"busy")
                return
            if fault == "expired":
                self._answer(400, [("Content-Type", "application/xml")], EXPIRED)
                return
            if fault and self.command == "PUT":
                body = _flipped(body)
            connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=30)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            payload = answer.read()
            connection.close()
            self._answer(answer.status, answer.getheaders(), payload, "" if self.command == "PUT" else fault)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = pass_on

        def _answer(self, status: int, headers: list[tuple[str, str]], payload: bytes, fault: str = "") -> None:
            self.send_response_only(status)
            length = str(len(payload))
            for name, value in headers:
                if name.lower() == "content-length":
                    length = value  # of a HEAD: that of the file
                elif name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if fault == "flip":
                payload = _flipped(payload)
            if fault in ("cut", "stall"):
                payload = payload[: len(payload) // 2]
                self.close_connection = True
            self.wfile.write(payload)
            if fault == "stall":
                self.wfile.flush()
                proxy.stopped.wait(STALL_S)

    return Handler


def _flipped(payload: bytes) -> bytes:
    place = len(payload) // 2
    return payload[:place] + bytes([payload[place] ^ 0x04]) + payload[place + 1 :] if payload else payload
