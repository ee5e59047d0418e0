"""Checks of a deployment: values that were read go in, findings come out. Each finding names a remedy, not a command."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from itertools import groupby
from typing import Any

from pointsman_producer.client.registry import TIERS
from pointsman_producer.diagnostics.findings import Finding, Remedy, judged
from pointsman_producer.diagnostics.probe import Process, Trouble
from pointsman_shared import names

PACKAGES = ("pointsman", "celery", "kombu", "redis", "pydantic")
# A queue whose next message has waited this long is not served as it should be.
OLD_QUEUE_S = 60.0
# Shadow work may wait for spare time; after this long, there is none.
OLD_SHADOW_S = 600.0
MUCH_SHED = 0.05
# The share of Redis's memory above which producers are refused.
MAX_FILL = 0.85
# Worker processes report their state every ten seconds.
SILENT_PROCESS_S = 30.0


CANDIDATE_REMEDIES = {
    "too_slow": Remedy.FASTER_CANDIDATE,
    "slow": Remedy.FASTER_CANDIDATE,
    "process_lost": Remedy.LOOK_AT_MEMORY,
}


def versions() -> Finding:
    """List the versions of the producer's packages."""
    installed = [f"{package} {metadata.version(package)}" for package in PACKAGES]
    return Finding(
        status="ok", what="versions", detail=", ".join([f"Python {platform.python_version()}", *installed])
    )


def no_redis(shown_url: str, error: Exception) -> Finding:
    """Report a Redis that does not answer."""
    detail = f"does not answer at {shown_url}: {error.__cause__ or error}"
    return Finding(status="problem", what="redis", detail=detail, remedy=Remedy.START_REDIS)


def no_answer(error: Exception) -> Finding:
    """Report that the workers cannot be asked."""
    return Finding(status="problem", what="worker", detail=f"no worker can be asked: {error}")


def redis(info: Mapping[str, Any], shown_url: str) -> Iterator[Finding]:
    """Check the Redis server, by its `INFO`: it must not evict or lose a queue."""
    version = info.get("redis_version", "unknown")
    yield Finding(status="ok", what="redis", detail=f"version {version} answers at {shown_url}")
    eviction = info.get("maxmemory_policy")
    if eviction not in (None, "noeviction"):
        detail = f"maxmemory-policy is {eviction}: a full Redis would throw jobs away"
        yield Finding(status="problem", what="redis", detail=detail, remedy=Remedy.FORBID_EVICTION)
    # A hosted Redis may not tell.
    if not info.get("aof_enabled", True):
        detail = "keeps no append-only file: queued messages are lost when it restarts"
        yield Finding(status="warning", what="redis", detail=detail, remedy=Remedy.TURN_AOF_ON)
    fill = info["used_memory"] / info["maxmemory"] if info.get("maxmemory") else 0.0
    if fill > MAX_FILL:
        yield Finding(
            status="problem" if fill > 1 else "warning",
            what="redis",
            detail=f"uses {fill:.0%} of its maxmemory: producers are refused",
            remedy=Remedy.FREE_MEMORY,
        )


def queues(found: Mapping[str, tuple[int, float | None]], in_flight: int) -> Iterator[Finding]:
    """Check how long the next message of each queue has waited."""
    for name, (length, age_s) in found.items():
        age = f", the next one for {duration(age_s)}" if age_s is not None else ""
        detail = f"{counted(length, 'message')} waiting{age}"
        is_old = age_s is not None and age_s > OLD_QUEUE_S
        yield judged(f"queue {name}", detail, Remedy.ADD_WORKERS, bad=is_old)
    detail = f"{counted(in_flight, 'message')} taken by workers and not finished"
    yield Finding(status="ok", what="queues", detail=detail)


def workers(consumers: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Check that each queue has a worker."""
    for worker, queues_of in sorted(consumers.items()):
        yield Finding(status="ok", what="worker", detail=f"{worker} consumes {', '.join(sorted(queues_of))}")
    consumed = set().union(*consumers.values())
    unserved = [queue for queue in names.SERVING_QUEUES if queue not in consumed]
    if unserved:
        detail = f"no worker that answers consumes {' and '.join(unserved)}"
        yield Finding(status="problem", what="worker", detail=detail, remedy=Remedy.START_WORKERS)
    if names.TRAIN_QUEUE not in consumed:
        detail = f"no worker that answers consumes {names.TRAIN_QUEUE}: training would wait"
        yield Finding(status="warning", what="worker", detail=detail, remedy=Remedy.START_TRAINER)


def processes(found: Sequence[Process], now: float) -> Iterator[Finding]:
    """Check the state of the worker processes; equal ones share their lines."""
    if not found:
        detail = "no worker process reports its models"
        yield Finding(status="problem", what="models", detail=detail, remedy=Remedy.START_WORKERS)
    for _, alike in groupby(sorted(found, key=_likeness), key=_likeness):
        yield from _alike(list(alike), now)
    yield from _agreement(found)


def _likeness(process: Process) -> tuple[str, ...]:
    flags = process["flags"]
    parts = (process["tiers"], process["problems"], process["versions"], flags.get("etag"))
    return (*(str(part) for part in parts), str(flags.get("source")), str(flags.get("problem")))


def _alike(alike: Sequence[Process], now: float) -> Iterator[Finding]:
    first, who = alike[0], _who(alike)
    yield from _tiers(first, who)
    yield _flags(first["flags"], max(_fetched_at(process) for process in alike), who, now)
    packages = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    yield Finding(status="ok", what="processes", detail=f"{who}: {packages}")
    silent = [process for process in alike if now - process["updated_at"] > SILENT_PROCESS_S]
    if silent:
        detail = f"{_who(silent)}: nothing heard for {duration(now - silent[0]['updated_at'])}"
        yield Finding(status="warning", what="processes", detail=detail, remedy=Remedy.LOOK_AT_LOG)


def _tiers(process: Process, who: str) -> Iterator[Finding]:
    served = ", ".join(f"{tier} v{version}" for tier, version in process["tiers"].items()) or "nothing"
    missing = tuple(tier for tier in TIERS if tier not in process["tiers"])
    detail = f"{who}: {served}" + (f"; missing {', '.join(missing)}" if missing else "")
    yield judged("models", detail, Remedy.TRAIN, bad=missing, status="problem", about=missing)
    for problem in process["problems"]:
        of_candidate = problem.startswith("shadow candidate")
        remedy = Remedy.CHANGE_CANDIDATE if of_candidate else Remedy.TRAIN_AGAIN
        yield Finding(status="warning", what="models", detail=f"{who}: {problem}", remedy=remedy)


def _flags(flags: Mapping[str, Any], fetched_at: float, who: str, now: float) -> Finding:
    age = f", read {duration(now - fetched_at)} ago" if fetched_at else ""
    problem = flags.get("problem")
    detail = f"{who}: from {flags.get('source')}{age}" + (f"; {problem}" if problem else "")
    return judged("flags", detail, Remedy.WAIT_FOR_FLAGS, bad=problem)


def _agreement(found: Sequence[Process]) -> Iterator[Finding]:
    for tier in sorted({tier for process in found for tier in process["tiers"]}):
        served = sorted({process["tiers"][tier] for process in found if tier in process["tiers"]})
        if len(served) > 1:
            detail = f"{tier} is served as {', '.join(f'v{version}' for version in served)}"
            yield Finding(status="warning", what="models", detail=detail, remedy=Remedy.WAIT_FOR_SWAP)


def shadow_queue(waiting: int, *, age_s: float, mib: tuple[float, float], is_consumed: bool) -> Finding:
    """Check that shadow work is done; `mib` is the memory that its texts use, and the limit."""
    detail = counted(waiting, "served message") + " to compare"
    if waiting:
        detail += f", {mib[0]:.1f} of {mib[1]:.0f} MiB"
    if waiting and not is_consumed:
        detail += f"; no worker that answers consumes {names.SHADOW_QUEUE}"
    elif age_s > OLD_SHADOW_S:
        detail += f"; the oldest was served {duration(age_s)} ago"
    is_behind = waiting and (not is_consumed or age_s > OLD_SHADOW_S)
    return judged("shadow", detail, Remedy.DO_SHADOW_WORK, bad=is_behind)


def shadow_missed(counts: Mapping[str, tuple[int, Mapping[str, int]]], dropped: int) -> Iterator[Finding]:
    """Check how many texts were not compared; a pair's counts are the compared texts and the missed by reason."""
    for pair, (compared, missed) in counts.items():
        left_out = sum(missed.values())
        if left_out > MUCH_SHED * (compared + left_out):
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in missed.items())
            share = left_out / (compared + left_out)
            detail = f"{pair}: {share:.0%} of the texts were not compared ({reasons})"
            yield Finding(
                status="warning", what="shadow", detail=detail, remedy=Remedy.READ_REPORT, about=(pair,)
            )
    if dropped:
        detail = (
            f"{counted(dropped, 'message')} could not even be counted: "
            "Redis refused to keep them, or no worker did shadow work for too long"
        )
        yield Finding(status="warning", what="shadow", detail=detail, remedy=Remedy.DO_SHADOW_WORK)


def shadow_troubles(troubles: Sequence[Trouble], now: float) -> Iterator[Finding]:
    """Report the candidates that do not do their work."""
    for trouble in troubles:
        left_s = trouble["until"] - now
        paused = f"; it is paused for {duration(left_s)} more" if left_s > 0 else ""
        times = counted(trouble["failures"], "failure")
        yield Finding(
            status="warning",
            what="shadow",
            detail=f"candidate {trouble['version']}: {trouble['reason']}, {times} in a row{paused}",
            remedy=CANDIDATE_REMEDIES.get(trouble["reason"], Remedy.CHANGE_CANDIDATE),
        )


def _fetched_at(process: Process) -> float:
    return float(process["flags"].get("fetched_at") or 0.0)


def _who(found: Sequence[Process]) -> str:
    if len(found) == 1:
        return f"{found[0]['host']}:{found[0]['pid']}"
    hosts = {process["host"] for process in found}
    return f"{len(found)} processes on {hosts.pop() if len(hosts) == 1 else f'{len(hosts)} machines'}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: `1 message`, `2 messages`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Write a duration shortly: `8 s`, `3 min`, `5 h`, `2 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
