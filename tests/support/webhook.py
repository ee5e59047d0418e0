"""A chat's webhook on the loopback interface: keeps what it is sent."""

import http.server
import json
import threading
from types import TracebackType
from typing import Any, Self


class Webhook:
    """Takes notices, or refuses them with a status."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.notices: list[dict[str, Any]] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.webhook = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def events(self) -> list[str]:
        """Return the notifications it received, in short."""
        return [f"{notice['tier']} {notice['event']}" for notice in self.notices]


class _Server(http.server.ThreadingHTTPServer):
    webhook: Webhook


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.webhook.notices.append(json.loads(body))
        self.send_response(self.server.webhook.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Notices are kept, not printed."""
