"""Checks of a deployment: values that were read go in, findings come out. Each finding names a remedy, not a command."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from itertools import groupby
from typing import Any

from pointsman_producer.diagnostics.findings import Finding, Remedy, ok, problem, warning
from pointsman_producer.diagnostics.probe import Process, Trouble
from pointsman_shared import names
from pointsman_shared.store.backpressure import MAX_FILL
from pointsman_shared.store.dead_letters import DeadLetter

PACKAGES = ("pointsman", "celery", "kombu", "redis", "pydantic")
# A queue whose next message has waited this long is not served as it should be.
OLD_QUEUE_S = 60.0
# Shadow work may wait for spare time; after this long, there is none.
OLD_SHADOW_S = 600.0
MUCH_SHED = 0.05
# Worker processes report their state every ten seconds.
SILENT_PROCESS_S = 30.0
# ConfigCat is asked every 15 s, if no setting says otherwise; every answer counts, also that nothing changed.
OLD_FLAGS_S = 600.0
CONFIGCAT = "configcat"
CANDIDATE_REMEDIES = {
    "too_slow": Remedy.FASTER_CANDIDATE,
    "slow": Remedy.FASTER_CANDIDATE,
    "process_lost": Remedy.LOOK_AT_MEMORY,
}
# How the problems of a worker process begin that do not concern what it serves.
FAULTS = {
    "flag ": ("flags", Remedy.MEND_FLAG),
    "shadow candidate ": ("models", Remedy.CHANGE_CANDIDATE),
    names.OF_TIERS: ("tiers", Remedy.MEND_TIERS),
}
OF_MODELS = "models", Remedy.TRAIN_AGAIN


def versions() -> Finding:
    """List the versions of the producer's packages."""
    installed = [f"{package} {metadata.version(package)}" for package in PACKAGES]
    return ok("versions", ", ".join([f"Python {platform.python_version()}", *installed]))


def redis(info: Mapping[str, Any], shown_url: str) -> Iterator[Finding]:
    """Check the Redis server, by its `INFO`: it must not evict or lose a queue."""
    valkey = info.get("valkey_version")
    version = f"Valkey version {valkey}" if valkey else f"version {info.get('redis_version', 'unknown')}"
    yield ok("redis", f"{version} answers at {shown_url}")
    if is_cluster(info):
        yield problem("redis", "it is a cluster, which Pointsman does not support", Remedy.ONE_SERVER)
    eviction = info.get("maxmemory_policy")
    if eviction not in (None, "noeviction"):
        detail = f"maxmemory-policy is {eviction}: a full Redis would throw jobs away"
        yield problem("redis", detail, Remedy.FORBID_EVICTION)
    # A hosted Redis may not tell.
    if not info.get("aof_enabled", True):
        detail = "keeps no append-only file: queued messages are lost when it restarts"
        yield warning("redis", detail, Remedy.TURN_AOF_ON)
    fill = info["used_memory"] / info["maxmemory"] if info.get("maxmemory") else 0.0
    if fill > MAX_FILL:
        report = problem if fill > 1 else warning
        detail = f"uses {fill:.0%} of its maxmemory: producers are refused"
        yield report("redis", detail, Remedy.FREE_MEMORY)


def is_cluster(info: Mapping[str, Any]) -> bool:
    """Return whether the server is part of a cluster."""
    return info.get("redis_mode") == "cluster"


def queues(found: Mapping[str, tuple[int, float | None]], in_flight: int) -> Iterator[Finding]:
    """Check how long the next message of each queue has waited."""
    for name, (length, age_s) in found.items():
        what, detail = f"queue {name}", f"{counted(length, 'message')} waiting"
        if age_s is not None:
            detail += f", the next one for {duration(age_s)}"
        is_old = age_s is not None and age_s > OLD_QUEUE_S
        yield warning(what, detail, Remedy.ADD_WORKERS) if is_old else ok(what, detail)
    yield ok("queues", f"{counted(in_flight, 'message')} taken by workers and not finished")


def strays(found: Mapping[str, int]) -> Iterator[Finding]:
    """Report the messages for tasks of ours in queues that no worker of ours reads."""
    for queue, count in found.items():
        detail = f"{counted(count, 'message')} for Pointsman, which no worker of this deployment reads"
        yield warning(f"queue {queue}", detail, Remedy.NAME_THE_QUEUE)


def dead_letters(count: int, latest: DeadLetter | None, now: float) -> Finding:
    """Check whether messages were given up."""
    if latest is None:
        return ok("dead letters", "none")
    detail = f"{count}, the latest {duration(now - latest.died_at)} ago ({latest.reason})"
    return warning("dead letters", detail, Remedy.LOOK_AT_LETTERS)


def workers(consumers: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Check that each queue has a worker."""
    for worker, queues_of in sorted(consumers.items()):
        yield ok("worker", f"{worker} consumes {', '.join(sorted(queues_of))}")
    consumed = set().union(*consumers.values())
    if unserved := [queue for queue in names.SERVING_QUEUES if queue not in consumed]:
        detail = f"no worker that answers consumes {' and '.join(unserved)}"
        yield problem("worker", detail, Remedy.START_WORKERS)
    if names.TRAIN_QUEUE not in consumed:
        detail = f"no worker that answers consumes {names.TRAIN_QUEUE}: training would wait"
        yield warning("worker", detail, Remedy.START_TRAINER)


def processes(found: Sequence[Process], now: float) -> Iterator[Finding]:
    """Check the state of the worker processes; equal ones share their lines."""
    if not found:
        yield problem("models", "no worker process reports its models", Remedy.START_WORKERS)
    for _, alike in groupby(sorted(found, key=_likeness), key=_likeness):
        yield from _alike(list(alike), now)
    for tier in sorted({tier for process in found for tier in process["tiers"]}):
        served = sorted({version for process in found if (version := process["tiers"].get(tier))})
        if len(served) > 1:
            detail = f"{tier} is served as {', '.join(f'v{version}' for version in served)}"
            yield warning("models", detail, Remedy.WAIT_FOR_SWAP)


def _likeness(process: Process) -> tuple[str, ...]:
    flags = process["flags"]
    parts = (process["tiers"], process["problems"], process["versions"])
    return tuple(str(part) for part in (*parts, flags.get("etag"), flags.get("source"), flags.get("problem")))


def _alike(alike: Sequence[Process], now: float) -> Iterator[Finding]:
    first, who = alike[0], _who(alike)
    yield from _tiers(first, who)
    flags, fetched_at = first["flags"], max(float(each["flags"].get("fetched_at") or 0) for each in alike)
    detail = f"{who}: from {flags.get('source')}"
    if fetched_at:
        detail += f", read {duration(now - fetched_at)} ago"
    is_old = fetched_at and flags.get("source") == CONFIGCAT and now - fetched_at > OLD_FLAGS_S
    if wrong := flags.get("problem") or ("nothing was heard from it since" if is_old else None):
        yield warning("flags", f"{detail}; {wrong}", Remedy.WAIT_FOR_FLAGS)
    else:
        yield ok("flags", detail)
    packages = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    yield ok("processes", f"{who}: {packages}")
    if silent := [process for process in alike if now - process["updated_at"] > SILENT_PROCESS_S]:
        detail = f"{_who(silent)}: nothing heard for {duration(now - silent[0]['updated_at'])}"
        yield warning("processes", detail, Remedy.LOOK_AT_LOG)


def _tiers(process: Process, who: str) -> Iterator[Finding]:
    tiers = process["tiers"].items()
    served = ", ".join(f"{tier} v{version}" for tier, version in tiers if version) or "nothing"
    if missing := [tier for tier, version in tiers if version is None]:
        detail = f"{who}: {served}; missing {', '.join(missing)}"
        yield problem("models", detail, Remedy.TRAIN, tuple(missing))
    else:
        yield ok("models", f"{who}: {served}")
    for fault in process["problems"]:
        what, remedy = next((found for kind, found in FAULTS.items() if fault.startswith(kind)), OF_MODELS)
        yield warning(what, f"{who}: {fault}", remedy)


def shadow_queue(waiting: int, *, age_s: float, mib: tuple[float, float], is_consumed: bool) -> Finding:
    """Check that shadow work is done; `mib` is the memory that its texts use, and the limit."""
    detail = counted(waiting, "served message") + " to compare"
    if not waiting:
        return ok("shadow", detail)
    detail += f", {mib[0]:.1f} of {mib[1]:.0f} MiB"
    if is_consumed and age_s <= OLD_SHADOW_S:
        return ok("shadow", detail)
    why = f"the oldest was served {duration(age_s)} ago"
    if not is_consumed:
        why = f"no worker that answers consumes {names.SHADOW_QUEUE}"
    return warning("shadow", f"{detail}; {why}", Remedy.DO_SHADOW_WORK)


def shadow_missed(
    counts: Mapping[str, tuple[int, Mapping[str, int]]], dropped: int, unreadable: int
) -> Iterator[Finding]:
    """Check how many texts were not compared; a pair's counts are the compared texts and the missed by reason."""
    for pair, (compared, missed) in counts.items():
        left_out = sum(missed.values())
        if left_out > MUCH_SHED * (compared + left_out):
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in missed.items())
            share = left_out / (compared + left_out)
            detail = f"{pair}: {share:.0%} of the texts were not compared ({reasons})"
            yield warning("shadow", detail, Remedy.READ_REPORT, (pair,))
    if dropped:
        detail = (
            f"{counted(dropped, 'message')} could not even be counted: "
            "Redis refused to keep them, or no worker did shadow work for too long"
        )
        yield warning("shadow", detail, Remedy.DO_SHADOW_WORK)
    if unreadable:
        detail = f"{counted(unreadable, 'served message')} could not be read for the comparison"
        yield warning("shadow", detail, Remedy.SAME_RELEASE)


def shadow_troubles(troubles: Sequence[Trouble], now: float) -> Iterator[Finding]:
    """Report the candidates that do not do their work."""
    for trouble in troubles:
        times, left_s = counted(trouble["failures"], "failure"), trouble["until"] - now
        detail = f"candidate {trouble['version']}: {trouble['reason']}, {times} in a row"
        if left_s > 0:
            detail += f"; it is paused for {duration(left_s)} more"
        yield warning("shadow", detail, CANDIDATE_REMEDIES.get(trouble["reason"], Remedy.CHANGE_CANDIDATE))


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
