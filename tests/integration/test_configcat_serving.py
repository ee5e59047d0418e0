"""The tier follows ConfigCat's own servers, through the real serving workers, while these work and while they do not."""

from collections.abc import Iterator

import pytest

from pointsman_producer.client.client import Client
from pointsman_producer.diagnostics import probe
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from tests.support import flag_config, running
from tests.support.cdn import Cdn, Fault
from tests.support.deadlines import eventually
from tests.support.running import Running

TIMEOUT_S = 30
PRO = jobs.User(id="ana", custom={"plan": "pro"})
PLAN_RULE = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
NO_RULE = flag_config.plan_flag(flag_config.TIER_FLAG, "no such plan")


@pytest.fixture(scope="module")
def cdn() -> Iterator[Cdn]:
    with Cdn(PLAN_RULE) as cdn:
        yield cdn


@pytest.fixture(scope="module")
def deployed(cdn: Cdn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    extra = {"configcat_sdk_key": cdn.sdk_key, "configcat_base_url": cdn.url, "configcat_poll_interval_s": 1}
    with running.deployment(tmp_path_factory.mktemp("deployment"), extra=extra) as deployment:
        yield deployment


@pytest.fixture
def settings(deployed: Running) -> Settings:
    return deployed.settings


def follow(store: Store, cdn: Cdn) -> None:
    """Wait until every process serves by what is published."""
    eventually(
        lambda: all(process["flags"]["etag"] == cdn.etag for process in probe.processes(store)),
        "every process follows",
    )


def tiers(client: Client) -> set[str]:
    """Ask often enough for every process to answer."""
    return {handle.result(TIMEOUT_S).tier for handle in [client.submit("hi", user=PRO) for _ in range(12)]}


def test_a_rule_made_at_configcat_is_followed_and_a_flip_is_seen_without_restart(
    cdn: Cdn, client: Client, store: Store
) -> None:
    follow(store, cdn)
    assert tiers(client) == {"pro"}
    outcome = client.classify("hi", user=PRO)
    assert (outcome.flag.reason, outcome.flag.variation_id) == ("targeting_rule", "plans")
    assert outcome.flag.etag == cdn.etag
    for rule, tier in ((NO_RULE, "base"), (PLAN_RULE, "pro")):
        cdn.set_config(rule)
        follow(store, cdn)
        assert tiers(client) == {tier}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=[] if fault is Fault.SERVER_ERROR else pytest.mark.slow) for fault in Fault],
)
def test_while_configcat_is_away_the_last_configuration_serves(
    cdn: Cdn, client: Client, store: Store, fault: Fault
) -> None:
    follow(store, cdn)
    cdn.break_with(fault)
    cdn.set_config(NO_RULE)
    try:
        seen = len(cdn.requests)
        eventually(lambda: fault is Fault.HANG or len(cdn.requests) >= seen + 2, "the fault was met")
        assert tiers(client) == {"pro"}
    finally:
        cdn.heal()
    follow(store, cdn)
    assert tiers(client) == {"base"}
    cdn.set_config(PLAN_RULE)
