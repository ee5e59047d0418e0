"""Flower as the launcher starts it: run as a program, it is Celery's command with a Flower that only answers to this machine.

A web page elsewhere may give its own name our address (DNS rebinding); its requests then name a host that is not ours.
"""

import sys
from typing import Any, Final

from celery.__main__ import main
from flower import command
from flower.app import Flower
from tornado.httputil import HTTPServerRequest
from tornado.web import ErrorHandler

HOSTS: Final = {"localhost", "127.0.0.1", "[::1]"}
MISDIRECTED: Final = 421


class LocalFlower(Flower):  # type: ignore[misc]  # Flower ships no types
    """Answers a request only if its Host header names this machine, with any port."""

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:  # noqa: ANN401  tornado's signature
        """Choose who answers a request."""
        if request.host_name in HOSTS:
            return super().find_handler(request, **options)
        return self.get_handler_delegate(request, ErrorHandler, {"status_code": MISDIRECTED})


if __name__ == "__main__":
    command.Flower = LocalFlower
    sys.exit(main())
