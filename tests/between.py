"""What stands between a client and a server and knows each request: it counts them and can refuse some."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Between:
    """Passes requests on to ``target`` and keeps their paths and headers.

    refuse: given a path, the status to answer with instead of asking the server; None to ask it.
    """

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refuse: Callable[[str], int | None] = lambda path: None
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                """Say nothing."""

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                between.paths.append(self.path)
                between.headers.append(dict(self.headers))
                status = between.refuse(self.path)
                if status is not None:
                    self._answer(status, {}, b"{}")
                    return
                upstream = http.client.HTTPConnection(between.target, timeout=60)
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                self._answer(answer.status, dict(answer.getheaders()), answer.read())
                upstream.close()

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                kind = {name.lower(): value for name, value in headers.items()}.get("content-type")
                self.send_header("Content-Type", kind or "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Between:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked_for(self, part: str) -> list[str]:
        """The paths that hold ``part``."""
        return [path for path in self.paths if part in path]
