"""The findings of an examination: each has a state and a remedy. Commands turn the remedies into advice."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Status = Literal["ok", "warning", "problem"]


class Remedy(Enum):
    """The remedy of a finding."""

    NONE = "none"
    START_REDIS = "start_redis"
    FORBID_EVICTION = "forbid_eviction"
    TURN_AOF_ON = "turn_aof_on"
    FREE_MEMORY = "free_memory"
    ADD_WORKERS = "add_workers"
    START_WORKERS = "start_workers"
    START_TRAINER = "start_trainer"
    TRAIN = "train"
    TRAIN_AGAIN = "train_again"
    LOOK_AT_LOG = "look_at_log"
    WAIT_FOR_FLAGS = "wait_for_flags"
    WAIT_FOR_SWAP = "wait_for_swap"
    DO_SHADOW_WORK = "do_shadow_work"
    READ_REPORT = "read_report"
    CHANGE_CANDIDATE = "change_candidate"
    FASTER_CANDIDATE = "faster_candidate"
    LOOK_AT_MEMORY = "look_at_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        status: `ok`, `warning` (works now, but may stop) or `problem` (does not work).
        what: The part that was checked.
        detail: What was found.
        remedy: What to do, as far as a program can know.
        about: The tiers or the pair that the remedy is for.
    """

    status: Status
    what: str
    detail: str
    remedy: Remedy = Remedy.NONE
    about: tuple[str, ...] = ()


def judged(
    what: str,
    detail: str,
    remedy: Remedy,
    *,
    bad: object,
    status: Status = "warning",
    about: tuple[str, ...] = (),
) -> Finding:
    """Make a finding that is `ok`, without a remedy, unless something is bad."""
    if not bad:
        return Finding(status="ok", what=what, detail=detail)
    return Finding(status=status, what=what, detail=detail, remedy=remedy, about=about)
