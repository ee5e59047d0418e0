"""A third tier: declared in `tiers.toml` and the flag file alone, while a deployment runs."""

import contextlib
from pathlib import Path

import pytest

from pointsman_producer.client import registry
from pointsman_producer.client.client import Client
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from tests.support import flag_config, live_tiers, running, tiny
from tests.support.deadlines import eventually

TIMEOUT_S = 60
ROUTING = """[routing]
flag = "tierOfPlan"
values = { free = "base", pro = "pro", enterprise = "enterprise" }
default = "base"
"""


def user(plan: str) -> jobs.User:
    return jobs.User(id=plan, custom={"plan": plan})


def declare_third(data: Path) -> None:
    """Add a tier, and lead the plans to the tiers by a text flag."""
    table = live_tiers.table(data, "enterprise", tiny.PRO_INTENTS)
    declared = (data / "tiers.toml").read_text().replace(live_tiers.ROUTING, ROUTING)
    staged = data / "tiers.toml.new"
    staged.write_text(f"{declared}\n{table}")
    staged.replace(data / "tiers.toml")


@pytest.mark.slow
def test_a_third_tier_serves_after_its_training_without_code_and_without_restart(tmp_path: Path) -> None:
    data = live_tiers.write(tmp_path / "data")
    with (
        running.deployment(tmp_path, extra={"data_dir": data}) as deployed,
        Client(settings=deployed.settings) as client,
    ):
        pids = deployed.deployment.pids()
        rules = [flag_config.rule("plan", [plan], plan) for plan in ("pro", "enterprise", "platinum")]
        deployed.set_flags(flag_config.document({"tierOfPlan": flag_config.flag("free", rules=rules)}))
        declare_third(data)
        assert registry.missing_tiers(client) == ["enterprise"]
        assert client.train("enterprise").result(TIMEOUT_S).promoted

        def tier(plan: str) -> str | None:
            # A process follows the routing and the registry once a second each.
            with contextlib.suppress(errors.TierUnavailableError):
                return client.classify("hello there", user=user(plan), timeout_s=TIMEOUT_S).tier
            return None

        plans = ("free", "pro", "enterprise", "platinum")
        wanted = ["base", "pro", "enterprise", "base"]
        eventually(lambda: [tier(plan) for plan in plans] == wanted, "each plan has its tier")
        outcome = client.classify("hello there", user=user("platinum"))
        assert (outcome.flag.value, outcome.flag.reason) == ("platinum", "error")
        assert registry.missing_tiers(client) == []
        assert deployed.deployment.pids() == pids
