"""A TCP proxy in front of Redis, that can reset, delay and swallow what passes."""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

CHUNK = 65_536


class Proxy:
    """Passes bytes between clients and one loopback port, until told otherwise.

    Attributes:
        port: Where it listens.
        delay_s: How long each piece waits.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.delay_s = 0.0
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._open.set()
        self.reset()

    @property
    def url(self) -> str:
        """The URL of Redis through it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def reset(self) -> None:
        """Cut every connection with a reset."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                each.shutdown(socket.SHUT_RDWR)
                each.close()

    def swallow(self) -> None:
        """Answer nothing any more; connections stay open."""
        self._open.clear()

    def heal(self) -> None:
        """Pass everything again. What was swallowed is gone with its connections, as after a real black hole."""
        self.reset()
        self._open.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target_port), timeout=5)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                with contextlib.suppress(OSError, UnboundLocalError):
                    client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._open.wait()
                if self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.close()
            with self._lock:
                self._sockets.discard(each)
