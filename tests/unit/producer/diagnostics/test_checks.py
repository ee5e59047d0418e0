"""The doctor says what is wrong and what to do about it, and stays calm where nothing is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pointsman_producer.commands import doctor
from pointsman_producer.diagnostics import checks, examination
from pointsman_producer.diagnostics.findings import Finding, Remedy
from pointsman_producer.diagnostics.probe import Process, Trouble
from pointsman_shared import names
from pointsman_shared.settings import Settings

NOW = 1_000_000.0
URL = "redis://here/0"
FLAGS: Mapping[str, Any] = {"source": "file", "etag": "e1", "fetched_at": NOW - 5, "problem": None}
INFO: Mapping[str, Any] = {"redis_version": "7.2", "maxmemory_policy": "noeviction", "aof_enabled": 1}
SERVING = {"serving@a": {"interactive", "bulk"}}
TRAINER = {"trainer@a": {"train"}}
PROCESS: Process = {
    "host": "a",
    "pid": 1,
    "updated_at": NOW - 1,
    "tiers": {"base": 1, "pro": 2},
    "flags": FLAGS,
    "problems": [],
    "versions": {"celery": "5.7"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What was read from a deployment."""

    info: Mapping[str, Any] = field(default_factory=lambda: INFO)
    waiting: Mapping[str, tuple[int, float | None]] = field(default_factory=dict)
    workers: Mapping[str, set[str]] = field(default_factory=lambda: {**SERVING, **TRAINER})
    reports: Sequence[Process] = (PROCESS,)
    shadow_waiting: int = 0
    shadow_age_s: float = 0.0
    shadow_mib: float = 0.0
    counts: Mapping[str, tuple[int, Mapping[str, int]]] = field(default_factory=dict)
    dropped: int = 0
    unreadable: int = 0
    troubles: Sequence[Trouble] = ()


def findings(patient: Patient) -> list[Finding]:
    return [
        checks.versions(),
        *checks.redis(patient.info, URL),
        *checks.queues(patient.waiting, 3),
        *checks.workers(patient.workers),
        *checks.processes(patient.reports, NOW),
        checks.shadow_queue(
            patient.shadow_waiting,
            age_s=patient.shadow_age_s,
            mib=(patient.shadow_mib, 64),
            is_consumed=any(names.SHADOW_QUEUE in queues for queues in patient.workers.values()),
        ),
        *checks.shadow_missed(patient.counts, patient.dropped, patient.unreadable),
        *checks.shadow_troubles(patient.troubles, NOW),
    ]


def complaints(patient: Patient) -> list[tuple[str, str, str]]:
    return [
        (found.status, found.what, doctor.advice(found, "pointsman"))
        for found in findings(patient)
        if found.status != "ok"
    ]


def detail_of(patient: Patient, what: str) -> str:
    return "\n".join(found.detail for found in findings(patient) if found.what == what)


def test_a_healthy_deployment_gets_no_advice() -> None:
    assert complaints(Patient()) == []
    assert all(doctor.advice(found, "pointsman") == "" for found in findings(Patient()))


def test_without_redis_nothing_else_is_asked() -> None:
    settings = Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0"})
    found = list(examination.examine(settings, URL))
    assert [(finding.status, finding.what) for finding in found] == [("ok", "versions"), ("problem", "redis")]
    assert "pointsman up" in doctor.advice(found[-1], "pointsman")
    assert "redis://here/0" in found[-1].detail


def test_a_redis_that_may_evict_jobs_is_a_problem() -> None:
    patient = Patient(info={**INFO, "maxmemory_policy": "allkeys-lru"})
    assert complaints(patient) == [("problem", "redis", "redis-cli config set maxmemory-policy noeviction")]


def test_a_cluster_is_a_problem() -> None:
    (complaint,) = complaints(Patient(info={**INFO, "redis_mode": "cluster"}))
    assert complaint == ("problem", "redis", doctor.ADVICE[Remedy.ONE_SERVER])


def test_valkey_is_called_by_its_name_and_version() -> None:
    patient = Patient(info={**INFO, "redis_version": "7.2.4", "valkey_version": "8.0.1"})
    assert detail_of(patient, "redis") == f"Valkey version 8.0.1 answers at {URL}"


def test_a_redis_that_forgets_is_a_warning() -> None:
    patient = Patient(info={**INFO, "aof_enabled": 0})
    assert complaints(patient) == [("warning", "redis", "redis-cli config set appendonly yes")]


@pytest.mark.parametrize(("fill", "status"), [(0.5, None), (0.9, "warning"), (1.05, "problem")])
def test_a_redis_without_room_is_said(fill: float, status: str | None) -> None:
    patient = Patient(info={**INFO, "used_memory": 1000 * fill, "maxmemory": 1000})
    assert [(what, found) for found, what, _ in complaints(patient)] == (
        [("redis", status)] if status else []
    )


def test_a_hosted_redis_that_does_not_say_is_believed() -> None:
    assert complaints(Patient(info={"redis_version": "7.2"})) == []


@pytest.mark.parametrize(("age_s", "status"), [(None, "ok"), (59.0, "ok"), (600.0, "warning")])
def test_a_queue_is_judged_by_how_long_its_next_message_waits(age_s: float | None, status: str) -> None:
    patient = Patient(waiting={"bulk": (100_000, age_s)})
    (found,) = [finding for finding in findings(patient) if finding.what == "queue bulk"]
    assert found.status == status
    assert "100000 messages waiting" in found.detail


def test_without_serving_workers_there_is_a_problem_and_a_command() -> None:
    (found,) = [finding for finding in findings(Patient(workers=TRAINER)) if finding.status == "problem"]
    assert found.detail == "no worker that answers consumes interactive and bulk"
    assert "pointsman up" in doctor.advice(found, "pointsman")


def test_without_a_trainer_there_is_a_warning_and_a_command() -> None:
    (found,) = [finding for finding in findings(Patient(workers=SERVING)) if finding.status != "ok"]
    assert found.status == "warning"
    assert "pointsman_workers.trainer" in doctor.advice(found, "pointsman")


def test_a_tier_that_is_not_served_is_a_problem_with_the_command_that_trains_it() -> None:
    patient = Patient(reports=[{**PROCESS, "tiers": {"base": 1, "pro": None}}])
    assert complaints(patient) == [("problem", "models", "pointsman train pro")]
    assert "missing pro" in detail_of(patient, "models")


def test_no_process_that_says_what_it_serves_is_a_problem() -> None:
    assert [(status, what) for status, what, _ in complaints(Patient(reports=[]))] == [("problem", "models")]


def test_processes_that_say_the_same_share_a_line() -> None:
    patient = Patient(reports=[{**PROCESS, "pid": pid} for pid in range(8)])
    assert detail_of(patient, "models") == "8 processes on a: base v1, pro v2"


def test_processes_on_several_machines_are_counted() -> None:
    patient = Patient(reports=[{**PROCESS, "host": host} for host in "abc"])
    assert detail_of(patient, "models").startswith("3 processes on 3 machines")


def test_different_versions_of_a_tier_are_a_warning() -> None:
    patient = Patient(reports=[PROCESS, {**PROCESS, "pid": 2, "tiers": {"base": 1, "pro": 3}}])
    assert [(status, what) for status, what, _ in complaints(patient)] == [("warning", "models")]
    assert "pro is served as v2, v3" in detail_of(patient, "models")


def test_what_a_process_could_not_take_over_is_a_warning() -> None:
    patient = Patient(reports=[{**PROCESS, "problems": ("tier pro: digest differs",)}])
    assert [(status, what) for status, what, _ in complaints(patient)] == [("warning", "models")]
    assert "digest differs" in detail_of(patient, "models")


def test_the_source_and_the_age_of_the_flags_are_shown() -> None:
    assert detail_of(Patient(), "flags") == "a:1: from file, read 5 s ago"


def test_flags_that_configcat_does_not_confirm_any_more_are_a_warning() -> None:
    def complaints_of(source: str, age_s: float) -> list[str]:
        flags = {"source": source, "etag": "e", "fetched_at": NOW - age_s}
        return [what for _, what, _ in complaints(Patient(reports=[{**PROCESS, "flags": flags}]))]

    assert complaints_of("configcat", checks.OLD_FLAGS_S + 1) == ["flags"]
    assert complaints_of("configcat", checks.OLD_FLAGS_S - 1) == []
    assert complaints_of("file", 2 * checks.OLD_FLAGS_S) == []


def test_flags_that_cannot_be_read_are_a_warning() -> None:
    patient = Patient(reports=[{**PROCESS, "flags": {"source": "file", "problem": "no such file"}}])
    assert [(status, what) for status, what, _ in complaints(patient)] == [("warning", "flags")]


def test_a_process_that_fell_silent_is_a_warning() -> None:
    patient = Patient(reports=[{**PROCESS, "updated_at": NOW - 45}])
    assert "nothing heard for 45 s" in detail_of(patient, "processes")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (59.4, "59 s"), (119, "119 s"), (180, "3 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert checks.duration(seconds) == said


SHADOWING = {**SERVING, **TRAINER, "shadow@a": {"shadow"}}


@pytest.mark.parametrize(
    ("workers", "age_s", "advised"),
    [(SHADOWING, 5.0, False), (SHADOWING, 900.0, True), ({**SERVING, **TRAINER}, 5.0, True)],
    ids=["is being done", "has waited long", "belongs to no worker"],
)
def test_shadow_work_that_is_not_done_is_a_warning(
    workers: Mapping[str, set[str]], age_s: float, advised: bool
) -> None:
    patient = Patient(workers=workers, shadow_waiting=7, shadow_age_s=age_s, shadow_mib=1)
    advice = doctor.ADVICE[Remedy.DO_SHADOW_WORK].format(namespace="pointsman")
    assert complaints(patient) == ([("warning", "shadow", advice)] if advised else [])
    assert "7 served messages to compare, 1.0 of 64 MiB" in detail_of(patient, "shadow")


def test_a_candidate_in_trouble_is_named_with_what_to_do() -> None:
    trouble = {"version": "pro@8", "reason": "too_slow", "failures": 3, "until": NOW + 25}
    patient = Patient(troubles=[trouble])
    ((status, what, advice),) = complaints(patient)
    assert (status, what) == ("warning", "shadow")
    assert "nominate a version that is faster" in advice
    assert "candidate pro@8: too_slow, 3 failures in a row; it is paused for 25 s more" in detail_of(
        patient, "shadow"
    )


def test_a_candidate_that_cannot_be_loaded_is_no_reason_to_worry_about_what_serves() -> None:
    problem = "shadow candidate pro@8: it cannot be loaded: no such file"
    ((_, _, advice),) = complaints(Patient(reports=[{**PROCESS, "problems": (problem,)}]))
    assert advice == doctor.ADVICE[Remedy.CHANGE_CANDIDATE]


def test_a_flag_that_leads_to_no_tier_is_no_reason_to_train() -> None:
    problem = "flag proModel is missing, or no boolean flag: the default serves"
    ((status, what, advice),) = complaints(Patient(reports=[{**PROCESS, "problems": (problem,)}]))
    assert (status, what, advice) == ("warning", "flags", doctor.ADVICE[Remedy.MEND_FLAG])


def test_a_broken_declaration_of_tiers_is_no_reason_to_train() -> None:
    problem = "tiers: data/tiers.toml: is not TOML"
    ((_, what, advice),) = complaints(Patient(reports=[{**PROCESS, "problems": (problem,)}]))
    assert (what, advice) == ("tiers", doctor.ADVICE[Remedy.MEND_TIERS])


def test_unreadable_messages_need_no_further_worker() -> None:
    (complaint,) = complaints(Patient(unreadable=2))
    assert complaint == ("warning", "shadow", doctor.ADVICE[Remedy.SAME_RELEASE])


def test_much_that_was_left_out_is_said_with_the_reasons() -> None:
    patient = Patient(
        counts={"a@1 vs b@2": (91, {"queue_age": 9}), "b@2 vs a@1": (100, {})},
        dropped=4,
    )
    assert [advice for _, _, advice in complaints(patient)] == [
        'pointsman shadow report "a@1 vs b@2" says how far that can bend its figures',
        doctor.ADVICE[Remedy.DO_SHADOW_WORK].format(namespace="pointsman"),
    ]
    assert "9% of the texts were not compared (queue_age 9)" in detail_of(patient, "shadow")
    assert "4 messages could not even be counted" in detail_of(patient, "shadow")
