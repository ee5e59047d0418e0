"""One tidy log: programs' own prefixes go, levels that matter stay."""

import io
import re

import pytest
from rich.console import Console

from pointsman_producer.deployment.log_view import Line, TidyLog, tidy


@pytest.mark.parametrize(
    ("raw", "level", "message"),
    [
        ("2026-03-02 09:14:05,123 INFO celery.apps.worker: serving@host ready.", "", "serving@host ready."),
        ("2026-03-02 09:14:05,123 WARNING pointsman_workers.flags: stale", "WARNING", "stale"),
        ("[2026-03-02 09:14:05,123: INFO/MainProcess] beat: Starting...", "", "beat: Starting..."),
        ("[2026-03-02 09:14:05,123: ERROR/ForkPoolWorker-1] it failed", "ERROR", "it failed"),
        ("[W 260302 09:14:05 inspector:36] something odd", "WARNING", "something odd"),
        ("[I 260302 09:14:05 command:177] Visit me", "", "Visit me"),
        ("4711:M 02 Mar 2026 09:14:05.123 * Ready to accept connections", "", "Ready to accept connections"),
        (
            "4711:M 02 Mar 2026 09:14:05.123 # Can't open the append-only file",
            "WARNING",
            "Can't open the append-only file",
        ),
        (
            "WARNING ended (exit code 1); starting again in 1 s",
            "WARNING",
            "ended (exit code 1); starting again in 1 s",
        ),
        ('  File "app.py", line 3, in run', "", '  File "app.py", line 3, in run'),
    ],
)
def test_a_line_loses_its_programs_own_prefix(raw: str, level: str, message: str) -> None:
    assert tidy(raw) == Line(level=level, message=message)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "   ",
        "4711:C 02 Mar 2026 09:14:05.123 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
        "4711:M 02 Mar 2026 09:14:05.123 # WARNING Memory overcommit must be enabled! And so on.",
        "4711:signal-handler (1795231529) Received SIGTERM scheduling shutdown...",
        "[W 260302 09:14:05 inspector:36] Inspect method stats failed",
        "worker: Hitting Ctrl+C again will terminate all running tasks!",
        "2026-03-02 09:14:05,123 INFO celery.worker.consumer.mingle: mingle: all alone",
    ],
)
def test_ceremony_is_left_out(raw: str) -> None:
    assert tidy(raw) is None


def test_an_error_is_never_taken_for_ceremony() -> None:
    raw = "[2026-03-02 09:14:05,123: ERROR/MainProcess] Connected to nothing"
    assert tidy(raw) == Line(level="ERROR", message="Connected to nothing")


def test_a_line_of_the_log_has_time_name_level_and_message() -> None:
    written = io.StringIO()
    log = TidyLog(Console(file=written, width=40))
    log(
        "serving",
        "2026-03-02 09:14:05,123 WARNING celery: a [markup] line that is longer than the console is wide",
    )
    log("serving", "")
    expected = (
        r"\d\d:\d\d:\d\d  serving   WARNING a \[markup\] line that is longer than the console is wide\n"
    )
    assert re.fullmatch(expected, written.getvalue())


def test_colours_stay_out_of_what_is_no_terminal() -> None:
    written = io.StringIO()
    TidyLog(Console(file=written))("redis", "WARNING it ended")
    assert "\x1b" not in written.getvalue()
