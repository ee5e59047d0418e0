"""What every flag provider promises: the stand-ins of the unit tests decide as ConfigCat's SDK does."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsman_shared.wire import jobs
from pointsman_workers.flags import provider, sources
from pointsman_workers.flags.configcat import ConfigCatFlags
from pointsman_workers.flags.provider import Provider, Value
from tests.support import flag_config
from tests.support.flags import FakeFlags, PlanFlags

KEY = "proModel"
PRO, FREE = (jobs.User(id=plan, custom={"plan": plan}) for plan in ("pro", "free"))
Make = Callable[[dict[str, object]], Provider]


@pytest.fixture
def from_file(tmp_path: Path) -> Make:
    def make(document: dict[str, object]) -> Provider:
        path = tmp_path / "flags.json"
        path.write_text(json.dumps(document))
        return ConfigCatFlags(sources.FileSource(path))

    return make


@pytest.fixture(params=["fake", "configcat"])
def by_plan(request: pytest.FixtureRequest, from_file: Make) -> Provider:
    """A provider with a flag that is on for the plan `pro`."""
    return PlanFlags() if request.param == "fake" else from_file(flag_config.plan_flag(KEY, "pro"))


@pytest.fixture(params=["fake", "configcat"])
def without_flags(request: pytest.FixtureRequest, from_file: Make) -> Provider:
    return FakeFlags() if request.param == "fake" else from_file(flag_config.document({}))


@pytest.mark.parametrize(
    ("user", "value", "reason"),
    [(PRO, True, provider.TARGETING_RULE), (FREE, False, provider.DEFAULT), (None, False, provider.DEFAULT)],
)
def test_a_rule_decides_for_its_users_and_the_default_for_the_others(
    by_plan: Provider, user: jobs.User | None, value: bool, reason: str
) -> None:
    decision = by_plan.decide(KEY, False, user)
    assert (decision.key, decision.value, decision.reason) == (KEY, value, reason)
    assert decision.variation_id
    assert decision.etag


def test_decisions_of_one_configuration_have_one_etag(by_plan: Provider) -> None:
    assert len({by_plan.decide(KEY, False, user).etag for user in (PRO, FREE, None)}) == 1


def test_a_flag_with_a_rule_depends_on_the_user(by_plan: Provider) -> None:
    assert by_plan.is_targeted(KEY) is True


@pytest.mark.parametrize("default", [True, False, 0.5, "base"])
@pytest.mark.parametrize("user", [PRO, None])
def test_a_flag_that_is_not_there_has_its_default_for_every_user(
    without_flags: Provider, default: Value, user: jobs.User | None
) -> None:
    decision = without_flags.decide("absent", default, user)
    assert (decision.key, decision.value) == ("absent", default)
    assert type(decision.value) is type(default)
    assert without_flags.is_targeted("absent") is None


def test_the_state_names_its_source_and_closing_is_harmless(without_flags: Provider) -> None:
    state = without_flags.state()
    assert state.source
    assert state.problem is None
    without_flags.close()
