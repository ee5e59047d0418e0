"""The findings of an examination: each has a state and a remedy. Commands turn the remedies into advice."""

from enum import Enum, auto
from functools import partial
from typing import Literal, NamedTuple

Status = Literal["ok", "warning", "problem"]


class Remedy(Enum):
    """The remedy of a finding."""

    NONE = auto()
    START_REDIS = auto()
    CHECK_URL = auto()
    ONE_SERVER = auto()
    FORBID_EVICTION = auto()
    TURN_AOF_ON = auto()
    FREE_MEMORY = auto()
    ADD_WORKERS = auto()
    START_WORKERS = auto()
    START_TRAINER = auto()
    TRAIN = auto()
    TRAIN_AGAIN = auto()
    LOOK_AT_LOG = auto()
    WAIT_FOR_FLAGS = auto()
    MEND_TIERS = auto()
    WAIT_FOR_SWAP = auto()
    MEND_FLAG = auto()
    LOOK_AT_LETTERS = auto()
    NAME_THE_QUEUE = auto()
    DO_SHADOW_WORK = auto()
    SAME_RELEASE = auto()
    READ_REPORT = auto()
    CHANGE_CANDIDATE = auto()
    FASTER_CANDIDATE = auto()
    LOOK_AT_MEMORY = auto()


class Finding(NamedTuple):
    """One line of the doctor's; a `warning` works now, but may stop. The remedy is for the tiers or the pair `about`."""

    status: Status
    what: str
    detail: str
    remedy: Remedy = Remedy.NONE
    about: tuple[str, ...] = ()


# Of a part that works, of one that works now but may stop, and of one that does not work.
ok, warning, problem = partial(Finding, "ok"), partial(Finding, "warning"), partial(Finding, "problem")
