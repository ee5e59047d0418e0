"""Judging how a deployment is: what `pointsman doctor` says, and what it advises."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import groupby
from typing import Any, Literal, Protocol

from pointsman_producer.diagnostics.probe import ProcessReport, QueueReport, RedisReport
from pointsman_producer.diagnostics.shadow_probe import ShadowState, Trouble
from pointsman_shared import errors, names

Status = Literal["ok", "warning", "problem"]

PACKAGES = ("pointsman", "celery", "kombu", "redis", "pydantic")
TIERS = (names.BASE_TIER, names.PRO_TIER)
# A queue whose next message has waited this long is not being emptied as it should.
OLD_QUEUE_S = 60.0
# Shadow work may wait for spare time; if it waits this long, there is none.
OLD_SHADOW_S = 600.0
MUCH_SHED = 0.05
# The share of Redis's memory above which producers are refused, unless POINTSMAN_REDIS_MAX_FILL says otherwise.
FULL_REDIS = 0.85
# Worker processes say how they are every ten seconds.
SILENT_PROCESS_S = 30.0
START_ADVICE = "start one with `pointsman up` or set POINTSMAN_REDIS_URL"
SERVING_ADVICE = "start workers: `pointsman up`, or celery -A pointsman_workers.app worker"
SHADOW_ADVICE = (
    "start a worker of its own: celery -A pointsman_workers.app worker -Q shadow; or lower shadowSampleRate"
)
CANDIDATE_ADVICE = "users are not affected; nominate another version, or train again"
CANDIDATE_ADVICES = {
    "too_slow": "users are not affected; raise POINTSMAN_SHADOW_TIME_LIMIT_S, or nominate another version",
    "slow": "users are not affected; nominate a version that is faster",
    "process_lost": "it ended its process, which is replaced; look at the workers' log and their memory",
}
TRAINER_ADVICE = "start a trainer: `pointsman up`, or celery -A pointsman_workers.trainer worker -c 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        status: `ok`, `warning` (works, but will not always) or `problem` (does not work).
        what: What was looked at.
        detail: What was seen.
        advice: What to do about it; empty when there is nothing to do.
    """

    status: Status
    what: str
    detail: str
    advice: str = ""


class Probe(Protocol):
    """Whom the doctor asks; `health.Probe` asks the real deployment."""

    def redis(self) -> RedisReport:
        """Ask the Redis server, or raise a RetryableError."""
        ...

    def has_queues_here(self) -> bool:
        """Say whether the queues are in this Redis."""
        ...

    def queues(self) -> Sequence[QueueReport]:
        """Look at the queues."""
        ...

    def unacknowledged(self) -> int:
        """Count the messages taken and not finished."""
        ...

    def consumers(self) -> Mapping[str, set[str]]:
        """Ask the workers which queues they consume."""
        ...

    def processes(self) -> Sequence[ProcessReport]:
        """Read what the worker processes say of themselves."""
        ...

    def shadow(self) -> ShadowState:
        """Look at the shadow work."""
        ...


def examine(probe: Probe, shown_url: str, *, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Look at everything, in the order in which one thing needs the other.

    Args:
        probe: Whom to ask.
        shown_url: The Redis URL without its password.
        clock: Gives the seconds since the epoch.
    """
    yield judge_versions()
    try:
        report = probe.redis()
    except errors.RetryableError as error:
        yield Finding(
            status="problem",
            what="redis",
            detail=f"does not answer at {shown_url}: {error}",
            advice=START_ADVICE,
        )
        return
    yield from judge_redis(report, shown_url)
    if probe.has_queues_here():
        yield from judge_queues(probe.queues(), probe.unacknowledged())
    consumers: Mapping[str, set[str]] | None = None
    try:
        consumers = probe.consumers()
        yield from judge_workers(consumers)
    except errors.RetryableError as error:
        yield Finding(status="problem", what="worker", detail=f"nobody can be asked: {error}")
    yield from judge_processes(probe.processes(), clock())
    if consumers is not None:
        yield from judge_shadow(probe.shadow(), consumers, clock())


def judge_versions() -> Finding:
    """Say which versions ask."""
    versions = [f"{package} {metadata.version(package)}" for package in PACKAGES]
    return Finding(
        status="ok", what="versions", detail=", ".join([f"Python {platform.python_version()}", *versions])
    )


def judge_redis(report: RedisReport, shown_url: str) -> Iterator[Finding]:
    """Judge the Redis server: a queue must neither be evicted nor forgotten."""
    yield Finding(status="ok", what="redis", detail=f"version {report.version} answers at {shown_url}")
    if report.eviction not in (None, "noeviction"):
        yield Finding(
            status="problem",
            what="redis",
            detail=f"maxmemory-policy is {report.eviction}: a full Redis would throw jobs away",
            advice="redis-cli config set maxmemory-policy noeviction",
        )
    if report.is_persistent is False:
        yield Finding(
            status="warning",
            what="redis",
            detail="keeps no append-only file: what is queued is lost when it restarts",
            advice="redis-cli config set appendonly yes",
        )
    if report.fill is not None and report.fill > FULL_REDIS:
        yield Finding(
            status="problem" if report.fill > 1 else "warning",
            what="redis",
            detail=f"uses {report.fill:.0%} of its maxmemory: producers are refused",
            advice="wait until work has been done, purge dead letters, or give it more memory",
        )


def judge_queues(queues: Sequence[QueueReport], unacknowledged: int) -> Iterator[Finding]:
    """Judge whether the queues are being emptied."""
    for queue in queues:
        old = queue.age_s is not None and queue.age_s > OLD_QUEUE_S
        age = f", the next one for {duration(queue.age_s)}" if queue.age_s is not None else ""
        yield Finding(
            status="warning" if old else "ok",
            what=f"queue {queue.name}",
            detail=f"{counted(queue.length, 'message')} waiting{age}",
            advice="start more workers, or see below whether any consume it" if old else "",
        )
    detail = f"{counted(unacknowledged, 'message')} taken by workers and not finished"
    yield Finding(status="ok", what="queues", detail=detail)


def judge_workers(consumers: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Judge whether somebody consumes each queue."""
    for worker, queues in sorted(consumers.items()):
        yield Finding(status="ok", what="worker", detail=f"{worker} consumes {', '.join(sorted(queues))}")
    consumed = set().union(*consumers.values())
    unserved = [queue for queue in names.SERVING_QUEUES if queue not in consumed]
    if unserved:
        detail = f"no worker that answers consumes {' and '.join(unserved)}"
        yield Finding(status="problem", what="worker", detail=detail, advice=SERVING_ADVICE)
    if names.TRAIN_QUEUE not in consumed:
        detail = f"no worker that answers consumes {names.TRAIN_QUEUE}: training would wait"
        yield Finding(status="warning", what="worker", detail=detail, advice=TRAINER_ADVICE)


def judge_processes(processes: Sequence[ProcessReport], now: float) -> Iterator[Finding]:
    """Judge what the worker processes serve; those that say the same share their lines."""
    if not processes:
        detail = "no worker process says what it serves"
        yield Finding(status="problem", what="models", detail=detail, advice=SERVING_ADVICE)
    for _, alike in groupby(sorted(processes, key=_likeness), key=_likeness):
        yield from _judge_alike(list(alike), now)
    yield from _judge_agreement(processes)


def _likeness(report: ProcessReport) -> tuple[str, ...]:
    parts: tuple[Any, ...] = (report.tiers, report.problems, report.versions, report.flags.get("etag"))
    return (*(str(part) for part in parts), str(report.flags.get("source")), str(report.flags.get("problem")))


def _judge_alike(reports: Sequence[ProcessReport], now: float) -> Iterator[Finding]:
    first, who = reports[0], _who(reports)
    yield from _judge_tiers(first, who)
    yield from _judge_flags(first, max(_fetched_at(report) for report in reports), who, now)
    versions = ", ".join(f"{name} {version}" for name, version in first.versions.items())
    yield Finding(status="ok", what="processes", detail=f"{who}: {versions}")
    silent = [report for report in reports if now - report.updated_at > SILENT_PROCESS_S]
    if silent:
        detail = f"{_who(silent)}: nothing heard for {duration(now - silent[0].updated_at)}"
        yield Finding(
            status="warning", what="processes", detail=detail, advice="look at its log; it may hang"
        )


def _judge_tiers(report: ProcessReport, who: str) -> Iterator[Finding]:
    served = ", ".join(f"{tier} v{version}" for tier, version in report.tiers.items()) or "nothing"
    missing = [tier for tier in TIERS if tier not in report.tiers]
    yield Finding(
        status="problem" if missing else "ok",
        what="models",
        detail=f"{who}: {served}" + (f"; missing {', '.join(missing)}" if missing else ""),
        advice="; ".join(f"pointsman train {tier}" for tier in missing),
    )
    for problem in report.problems:
        advice = "the version before it goes on serving; train again, or see the registry"
        if problem.startswith("shadow candidate"):
            advice = CANDIDATE_ADVICE
        yield Finding(status="warning", what="models", detail=f"{who}: {problem}", advice=advice)


def _judge_flags(report: ProcessReport, fetched_at: float, who: str, now: float) -> Iterator[Finding]:
    flags = report.flags
    age = f", read {duration(now - fetched_at)} ago" if fetched_at else ""
    problem = flags.get("problem")
    yield Finding(
        status="warning" if problem else "ok",
        what="flags",
        detail=f"{who}: from {flags.get('source')}{age}" + (f"; {problem}" if problem else ""),
        advice="the last good configuration serves; until there is one, the base tier" if problem else "",
    )


def _judge_agreement(processes: Sequence[ProcessReport]) -> Iterator[Finding]:
    for tier in sorted({tier for report in processes for tier in report.tiers}):
        versions = sorted({report.tiers[tier] for report in processes if tier in report.tiers})
        if len(versions) > 1:
            shown = ", ".join(f"v{version}" for version in versions)
            advice = "wait some seconds and ask again; then look at the log of those that stay behind"
            yield Finding(
                status="warning", what="models", detail=f"{tier} is served as {shown}", advice=advice
            )


def judge_shadow(state: ShadowState, consumers: Mapping[str, set[str]], now: float) -> Iterator[Finding]:
    """Judge whether shadow work is done, and whether candidates do theirs."""
    consumed = any(names.SHADOW_QUEUE in queues for queues in consumers.values())
    age_s = now - state.oldest_at if state.oldest_at is not None else 0.0
    size = f"{state.used_bytes / 2**20:.1f} of {state.limit_bytes / 2**20:.0f} MiB"
    detail = f"{counted(state.waiting, 'served message')} to compare" + (f", {size}" if state.waiting else "")
    if state.waiting and not consumed:
        detail += f"; no worker that answers consumes {names.SHADOW_QUEUE}"
    elif age_s > OLD_SHADOW_S:
        detail += f"; the oldest was served {duration(age_s)} ago"
    behind = state.waiting and (not consumed or age_s > OLD_SHADOW_S)
    yield Finding(
        status="warning" if behind else "ok",
        what="shadow",
        detail=detail,
        advice=SHADOW_ADVICE if behind else "",
    )
    yield from _judge_missed(state)
    for trouble in state.troubles:
        yield _judge_trouble(trouble, now)


def _judge_missed(state: ShadowState) -> Iterator[Finding]:
    for pair, missed in state.missed.items():
        if sum(missed.values()) > MUCH_SHED * state.sampled[pair]:
            share = sum(missed.values()) / state.sampled[pair]
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in missed.items())
            advice = f'pointsman shadow report "{pair}" says how far that can bend its figures'
            detail = f"{pair}: {share:.0%} of the texts were not compared ({reasons})"
            yield Finding(status="warning", what="shadow", detail=detail, advice=advice)
    if state.dropped:
        detail = (
            f"{counted(state.dropped, 'message')} could not even be counted: "
            "Redis refused to keep them, or nobody did shadow work for too long"
        )
        yield Finding(status="warning", what="shadow", detail=detail, advice=SHADOW_ADVICE)


def _judge_trouble(trouble: Trouble, now: float) -> Finding:
    times = f"{trouble.reason}, {counted(trouble.failures, 'failure')} in a row"
    paused = f"; it is left alone for {duration(trouble.until - now)} more" if trouble.until > now else ""
    return Finding(
        status="warning",
        what="shadow",
        detail=f"candidate {trouble.version}: {times}{paused}",
        advice=CANDIDATE_ADVICES.get(trouble.reason, CANDIDATE_ADVICE),
    )


def _fetched_at(report: ProcessReport) -> float:
    return float(report.flags.get("fetched_at") or 0.0)


def _who(reports: Sequence[ProcessReport]) -> str:
    if len(reports) == 1:
        return f"{reports[0].host}:{reports[0].pid}"
    hosts = {report.host for report in reports}
    return f"{len(reports)} processes on {hosts.pop() if len(hosts) == 1 else f'{len(hosts)} machines'}"


def counted(number: int, noun: str) -> str:
    """Give a number with its noun: `1 message`, `2 messages`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Say a duration shortly: `8 s`, `3 min`, `5 h`, `2 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
