"""One log from the lines of several programs: `HH:MM:SS name message`."""

import re
import threading
import time
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

NAME_WIDTH = 8
_COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta")
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}

# 2026-03-02 09:14:05,123 INFO celery.worker: the message
_WORKER = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) \S+: ?(?P<message>.*)")
# [2026-03-02 09:14:05,123: INFO/MainProcess] the message
_CELERY = re.compile(r"\[\d{4}-\d\d-\d\d [\d:,]+: (?P<level>[A-Z]+)/(?P<process>[^\]]+)\] ?(?P<message>.*)")
# [I 260302 09:14:05 command:177] the message
_TORNADO = re.compile(r"\[(?P<level>[DIWEC]) \d{6} [\d:]+ [^\]]*\] ?(?P<message>.*)")
# 4711:M 02 Mar 2026 09:14:05.123 * the message
_REDIS = re.compile(
    r"\d+:(?:[XCSM] \d\d \w{3} \d{4} [\d:.]+|signal-handler \(\d+\)) (?:(?P<level>[.\-*#]) )?(?P<message>.*)"
)
# WARNING the message: a line of the launcher itself
_PLAIN = re.compile(r"(?P<level>WARNING|ERROR|CRITICAL) (?P<message>.*)")
# The levels that are shown, by the names that Celery, Flower and Redis give them.
_LEVELS = {level: level for level in _STYLES} | {
    "W": "WARNING",
    "E": "ERROR",
    "C": "CRITICAL",
    "#": "WARNING",
}

# Redis prints these as warnings at every start and stop; on a laptop they need no action.
_REDIS_CEREMONY = re.compile(
    r"oO0OoO0OoO0Oo|Redis version=|Configuration loaded|WARNING.*(overcommit|backlog|Transparent Huge)"
    r"|User requested shutdown|Received SIGTERM|Redis is now ready to exit"
)

# Celery and Flower print these at every start and stop. Flower asks before the workers listen, and warns of it.
_CELERY_CEREMONY = re.compile(
    r"^(mingle: |sync with |Connected to |Events of group|worker: Hitting Ctrl\+C|Inspect method \w+ failed"
    r"|\d+ detected, shutting down)"
)


class Line(NamedTuple):
    """A line without its program's prefix; the level is `WARNING`, `ERROR`, `CRITICAL` or empty."""

    level: str
    message: str


def tidy(raw: str) -> Line | None:
    """Remove a program's own time, process and level from a line; return None for a line that is not shown."""
    redis = _REDIS.match(raw)
    match = redis or _WORKER.match(raw) or _CELERY.match(raw) or _TORNADO.match(raw) or _PLAIN.match(raw)
    level, message = (_LEVELS.get(match["level"], ""), match["message"]) if match else ("", raw)
    ceremony = _REDIS_CEREMONY if redis else _CELERY_CEREMONY
    is_detail = redis is not None and redis["level"] in (".", "-")
    if not raw.strip() or is_detail or (level in ("", "WARNING") and ceremony.search(message)):
        return None
    return Line(level=level, message=message)


class TidyLog:
    """Prints the lines of several programs, one colour each. Safe to share between threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._colours: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str, raw: str) -> None:
        """Print one line of a program."""
        line = tidy(raw)
        if line is None:
            return
        with self._lock:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            level = (f"{line.level} ", _STYLES[line.level]) if line.level else ""
            now, who = (time.strftime("%H:%M:%S"), "dim"), (f"{name:<{NAME_WIDTH}}", colour)
            self._console.print(Text.assemble(now, "  ", who, "  ", level, line.message), soft_wrap=True)
