"""What the demo does besides talking: waiting for tiers to serve, turning a flag, adding up outcomes."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pointsman_producer.client.client import Client
from pointsman_producer.diagnostics.probe import Process
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs
from pointsman_shared.wire.shadow_report import ShadowReport

TIERS = (names.BASE_TIER, names.PRO_TIER)
POLL_S = 0.1
SEEN_TIMEOUT_S = 15.0
SERVED_TIMEOUT_S = 30.0
SHADOW_TIMEOUT_S = 60.0
NO_PLAN = "unknown"


def wait_until_served(
    processes: Callable[[], Sequence[Process]], workers: int, timeout_s: float = SERVED_TIMEOUT_S
) -> None:
    """Wait until every serving process says that it serves both tiers.

    Args:
        processes: Gives what the processes say of themselves.
        workers: How many serving processes there are.
        timeout_s: How long to wait.

    Raises:
        TierUnavailableError: They do not in time.
    """
    deadline = time.monotonic() + timeout_s
    while not _all_serve(processes(), workers):
        if time.monotonic() > deadline:
            msg = f"not all workers took over the trained tiers within {timeout_s:.0f} s"
            raise errors.TierUnavailableError(msg)
        time.sleep(POLL_S)


def _all_serve(reports: Sequence[Process], workers: int) -> bool:
    serving = [report for report in reports if all(tier in report["tiers"] for tier in TIERS)]
    return len(serving) >= workers


def copy_flags(source: Path, target: Path) -> None:
    """Copy a flag file, so that the tour turns nobody's own flags.

    Raises:
        SettingsError: There is none.
    """
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        msg = f"there is no flag file {source}: set POINTSMAN_FLAGS_FILE to one"
        raise errors.SettingsError(msg) from None


def open_to_everyone(flags_file: Path, flag: str = names.TIER_FLAG) -> None:
    """Change a flag file so that a boolean flag is on for whoever no rule names, as one would in the dashboard.

    Raises:
        InvalidDataError: The file has no such flag.
    """
    config = json.loads(flags_file.read_text(encoding="utf-8"))
    try:
        config["f"][flag]["v"] = {"b": True}
    except KeyError:
        msg = f"{flags_file} has no flag {flag}"
        raise errors.InvalidDataError(msg) from None
    partial = flags_file.with_suffix(".partial")
    partial.write_text(json.dumps(config, indent=2), encoding="utf-8")
    partial.replace(flags_file)


def seconds_until(client: Client, text: str, *, user: jobs.User, tier: str) -> float:
    """Classify a text again and again until a tier answers; give how long that took.

    Raises:
        ResultTimeoutError: The tier did not answer in time.
    """
    started = time.monotonic()
    while client.classify(text, user=user).tier != tier:
        if time.monotonic() - started > SEEN_TIMEOUT_S:
            msg = f"after {SEEN_TIMEOUT_S:.0f} s the {tier} tier still does not answer"
            raise errors.ResultTimeoutError(msg)
        time.sleep(POLL_S)
    return time.monotonic() - started


def shadow_report(client: Client) -> ShadowReport:
    """Wait until the shadow queue is empty, and report on the pair with the most texts.

    Raises:
        InvalidDataError: Nothing was compared, as the flag for it is off.
        ResultTimeoutError: Shadow work was not done in time.
    """
    if not client.shadow.wait_drained(SHADOW_TIMEOUT_S):
        msg = f"after {SHADOW_TIMEOUT_S:.0f} s shadow messages still wait"
        raise errors.ResultTimeoutError(msg)
    found = max(client.shadow.pairs(), key=lambda pair: pair["texts"], default=None)
    if found is None:
        msg = f"nothing was compared: set the flag {names.SHADOW_FLAG} to a share above 0"
        raise errors.InvalidDataError(msg)
    return client.shadow.report(found["served"], found["candidate"])


def plans_of(source: Path) -> dict[str, str]:
    """Read which plan the user of each conversation is on."""
    with transcript_reader.Reader(source, reject=lambda _: None) as reader:
        return {conversation.id: _plan(conversation.user) for conversation in reader}


def _plan(user: jobs.User | None) -> str:
    return str(user.custom.get("plan", NO_PLAN)) if user else NO_PLAN


def read_outcomes(path: Path) -> list[dict[str, Any]]:
    """Read a batch's outcomes."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def tiers_by_plan(outcomes: Iterable[Mapping[str, Any]], plans: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Count, for each plan, how many conversations each tier served; the plans in order of their names."""
    served = {(str(row["conversation_id"]), str(row["tier"])) for row in outcomes}
    table: dict[str, Counter[str]] = {}
    for conversation, tier in served:
        table.setdefault(plans.get(conversation, NO_PLAN), Counter())[tier] += 1
    return dict(sorted(table.items()))
