"""A ConfigCat CDN on the loopback interface, with faults to switch on."""

import enum
import hashlib
import http
import http.server
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

SDK_KEY = "configcat-sdk-1/thetestsdkkey000000001/thetestsdkkey000000002"
DEADLINE_S = 20.0


class Fault(enum.Enum):
    """What the CDN does instead of answering as it should."""

    SERVER_ERROR = enum.auto()
    """Answers 500."""
    HANG = enum.auto()
    """Takes the request and answers only when the fault is over."""
    GARBAGE = enum.auto()
    """Answers 200 with bytes that are no JSON."""
    WRONG_JSON = enum.auto()
    """Answers 200 with JSON that is no configuration."""
    CLOSE = enum.auto()
    """Closes the connection without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request the CDN has seen, with the status it gave, None if it gave none yet."""

    path: str
    user_agent: str
    if_none_match: str | None
    status: int | None


class Cdn:
    """Serves one configuration under one SDK key, over config JSON v6's protocol: ETag, If-None-Match and 304."""

    def __init__(self, config: dict[str, Any], *, sdk_key: str = SDK_KEY) -> None:
        self.sdk_key = sdk_key
        self.requests: list[Request] = []
        self.changed = threading.Condition()
        self.fault: Fault | None = None
        self.fault_over = threading.Event()
        self._stopping = False
        self.set_config(config)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cdn = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The base URL to give to the SDK."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def set_config(self, config: dict[str, Any]) -> None:
        """Publish a configuration; its etag is new if its content is."""
        self.body = json.dumps(config).encode()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'

    def break_with(self, fault: Fault) -> None:
        """Answer every request from now on with the fault."""
        self.fault_over.clear()
        self.fault = fault

    def heal(self) -> None:
        """Answer properly again; requests that hang are let go."""
        self.fault = None
        self.fault_over.set()

    def statuses(self) -> list[int | None]:
        """Give the statuses of all answers so far."""
        with self.changed:
            return [request.status for request in self.requests]

    def wait_for(self, seen: Callable[[list[Request]], bool], deadline_s: float = DEADLINE_S) -> None:
        """Wait until the requests from now on satisfy a condition."""
        with self.changed:
            start = len(self.requests)
            if not self.changed.wait_for(lambda: seen(self.requests[start:]), deadline_s):
                msg = f"the CDN saw only {self.requests[start:]} in {deadline_s} s"
                raise TimeoutError(msg)

    def wait_for_requests(self, count: int, deadline_s: float = DEADLINE_S) -> None:
        """Wait until that many more requests have come."""
        self.wait_for(lambda requests: len(requests) >= count, deadline_s)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    cdn: Cdn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        cdn = self.server.cdn
        # The fault last: what is published after a fault began is not served to a request from before it.
        served, fault = (cdn.body, cdn.etag), cdn.fault
        if self.path != f"/configuration-files/{cdn.sdk_key}/config_v6.json":
            self._answer(http.HTTPStatus.NOT_FOUND, b"")
        elif fault is None:
            self._serve(*served)
        else:
            self._fail(cdn, fault)

    def _serve(self, body: bytes, etag: str) -> None:
        if self.headers.get("If-None-Match") == etag:
            self._answer(http.HTTPStatus.NOT_MODIFIED, b"", etag)
        else:
            self._answer(http.HTTPStatus.OK, body, etag)

    def _fail(self, cdn: Cdn, fault: Fault) -> None:
        if fault is Fault.SERVER_ERROR:
            self._answer(http.HTTPStatus.INTERNAL_SERVER_ERROR, b"")
        elif fault is Fault.GARBAGE:
            self._answer(http.HTTPStatus.OK, b"<html>\xff\x00 not JSON", '"garbage"')
        elif fault is Fault.WRONG_JSON:
            self._answer(http.HTTPStatus.OK, b'{"message": "signed in elsewhere"}', '"wrong"')
        else:
            self._record(None)
            if fault is Fault.HANG and cdn.fault_over.wait(DEADLINE_S):
                self._serve(cdn.body, cdn.etag)

    def _answer(self, status: http.HTTPStatus, body: bytes, etag: str | None = None) -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self._record(status)

    def _record(self, status: int | None) -> None:
        request = Request(
            path=self.path,
            user_agent=self.headers.get("User-Agent", ""),
            if_none_match=self.headers.get("If-None-Match"),
            status=status,
        )
        with self.server.cdn.changed:
            self.server.cdn.requests.append(request)
            self.server.cdn.changed.notify_all()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Requests are recorded, not printed."""
