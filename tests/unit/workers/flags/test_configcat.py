"""How one process evaluates flags."""

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from pointsman_shared import errors, settings
from pointsman_shared.wire import jobs
from pointsman_workers.flags import configcat, configcat_poller, provider
from pointsman_workers.flags import sources as config_sources
from tests.support import flag_config, key_values

FLAG = "proModel"
SHIPPED = Path(__file__).parents[4] / "data" / "flags.json"


class FakeSource:
    """A source in memory that counts how often it is read."""

    name = "memory"

    def __init__(self, document: dict[str, Any] | None = None) -> None:
        self.problem: str | None = None
        self.refusal: str | None = None
        self.reads = 0
        self._entry: config_sources.ConfigEntry | None = None
        if document is not None:
            self.put(document)

    def put(self, document: dict[str, Any], *, fetched_at: float = 1_000.0) -> None:
        text = json.dumps(document)
        etag = hashlib.sha256(text.encode()).hexdigest()[:8]
        self._entry = config_sources.ConfigEntry(etag=etag, fetched_at=fetched_at, document=text)

    def read(self) -> config_sources.ConfigEntry | None:
        self.reads += 1
        return self._entry


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Makes evaluators over one fake source and one fake clock, and closes them."""

    def __init__(self) -> None:
        self.source = FakeSource()
        self.clock = Clock()
        self._made: list[configcat.ConfigCatFlags] = []

    def flags(self, document: dict[str, Any] | None = None) -> configcat.ConfigCatFlags:
        if document is not None:
            self.source.put(document)
        made = configcat.ConfigCatFlags(self.source, clock=self.clock)
        self._made.append(made)
        return made

    def close(self) -> None:
        for made in self._made:
            made.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def on_plan(plan: jobs.CustomValue) -> jobs.User:
    return jobs.User(id="anna-7", email="anna@example.com", custom={"plan": plan})


@pytest.mark.parametrize(
    ("plan", "value", "reason", "variation"),
    [("pro", True, "targeting_rule", "plans"), ("free", False, "default", "otherwise")],
)
def test_a_targeting_rule_sends_only_the_users_it_names(
    bench: Bench, plan: str, value: bool, reason: str, variation: str
) -> None:
    decision = bench.flags(flag_config.plan_flag(FLAG, "pro")).decide(FLAG, False, on_plan(plan))
    assert (decision.value, decision.reason, decision.variation_id) == (value, reason, variation)


@pytest.mark.parametrize(
    ("attribute", "value", "user"),
    [
        ("Identifier", "anna", jobs.User(id="anna")),
        ("Email", "a@example.com", jobs.User(id="x", email="a@example.com")),
        ("Country", "NL", jobs.User(id="x", country="NL")),
    ],
)
def test_rules_see_the_users_own_fields(bench: Bench, attribute: str, value: str, user: jobs.User) -> None:
    rule = flag_config.rule(attribute, [value], True)
    evaluator = bench.flags(flag_config.document({FLAG: flag_config.flag(False, rules=[rule])}))
    assert evaluator.decide(FLAG, False, user).value is True
    assert evaluator.decide(FLAG, False, jobs.User(id="somebody")).value is False


def test_a_percentage_takes_the_users_that_configcat_hashes_into_it(bench: Bench) -> None:
    options = [
        flag_config.percentage(20, True, variation="some"),
        flag_config.percentage(80, False, variation="most"),
    ]
    evaluator = bench.flags(flag_config.document({FLAG: flag_config.flag(False, percentages=options)}))
    for number in range(300):
        user = jobs.User(id=f"user-{number}")
        # The documented algorithm, the same in all of ConfigCat's SDKs.
        bucket = int(hashlib.sha1(f"{FLAG}{user.id}".encode()).hexdigest()[:7], 16) % 100  # noqa: S324
        decision = evaluator.decide(FLAG, False, user)
        assert (decision.value, decision.reason) == (bucket < 20, "percentage")


def test_a_percentage_inside_a_rule_counts_as_the_rule(bench: Bench) -> None:
    rule = flag_config.percentage_rule("plan", ["pro"], [flag_config.percentage(100, True, variation="all")])
    evaluator = bench.flags(flag_config.document({FLAG: flag_config.flag(False, rules=[rule])}))
    decision = evaluator.decide(FLAG, False, on_plan("pro"))
    assert (decision.value, decision.reason, decision.variation_id) == (True, "targeting_rule", "all")


def test_a_text_without_a_user_gets_what_is_for_all_other_users(bench: Bench) -> None:
    decision = bench.flags(flag_config.plan_flag(FLAG, "pro")).decide(FLAG, True)
    assert (decision.value, decision.reason) == (False, "default")


def test_a_decision_names_the_configuration_it_was_made_with(bench: Bench) -> None:
    evaluator = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    decision = evaluator.decide(FLAG, False)
    assert decision.etag is not None
    assert decision.etag == evaluator.state().etag


def test_without_a_configuration_the_default_serves(bench: Bench) -> None:
    decision = bench.flags().decide(FLAG, True, on_plan("pro"))
    assert decision == jobs.FlagDecision(key=FLAG, value=True, reason="no_config")


def test_a_flag_that_is_not_configured_gives_the_default(bench: Bench) -> None:
    decision = bench.flags(flag_config.plan_flag("other", "pro")).decide(FLAG, True, on_plan("pro"))
    assert (decision.value, decision.reason, decision.variation_id) == (True, "error", None)
    assert decision.etag is not None


@pytest.mark.parametrize(
    ("configured", "default"),
    [("yes", True), (1, True), (True, 1), (True, 1.5), (2.5, 1), (1, "text"), (True, "text")],
)
def test_a_value_of_another_type_gives_the_default(
    bench: Bench, configured: flag_config.Value, default: flag_config.Value
) -> None:
    evaluator = bench.flags(flag_config.document({FLAG: flag_config.flag(configured)}))
    decision = evaluator.decide(FLAG, default)
    assert (decision.value, decision.reason) == (default, "error")
    assert type(decision.value) is type(default)


@pytest.mark.parametrize(
    ("configured", "default"), [(True, False), (0.25, 0.5), (3, 4), ("a", "b"), (1, 0.5)]
)
def test_a_value_comes_in_the_type_of_the_default(
    bench: Bench, configured: flag_config.Value, default: flag_config.Value
) -> None:
    evaluator = bench.flags(flag_config.document({FLAG: flag_config.flag(configured)}))
    decision = evaluator.decide(FLAG, default)
    assert (decision.value, decision.reason) == (configured, "default")
    assert type(decision.value) is type(default)


@pytest.mark.parametrize("malformed", [{}, {"t": 0}, {"t": 9, "v": {"b": True}}, {"t": 0, "v": "on"}])
def test_a_malformed_flag_fails_alone(bench: Bench, malformed: dict[str, Any]) -> None:
    evaluator = bench.flags(flag_config.document({FLAG: malformed, "other": flag_config.flag(True)}))
    assert evaluator.decide(FLAG, False).reason == "error"
    assert evaluator.decide("other", False).value is True


def test_a_source_that_breaks_its_promise_costs_no_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = bench.flags()
    monkeypatch.setattr(bench.source, "read", lambda: 1 / 0)
    assert evaluator.decide(FLAG, True).reason == "error"


def test_a_flip_is_seen_when_the_memo_expires_and_not_before(bench: Bench) -> None:
    evaluator = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    assert evaluator.decide(FLAG, False, on_plan("pro")).value is True
    bench.source.put(flag_config.plan_flag(FLAG, "enterprise"))
    bench.clock.now += 0.9
    assert evaluator.decide(FLAG, False, on_plan("pro")).value is True
    bench.clock.now += 0.1
    assert evaluator.decide(FLAG, False, on_plan("pro")).value is False


def test_decisions_within_a_second_read_the_source_once(bench: Bench) -> None:
    evaluator = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    for _ in range(20):
        evaluator.decide(FLAG, False, on_plan("pro"))
        evaluator.state()
    assert bench.source.reads == 1


def test_evaluators_of_one_process_keep_to_their_own_sources(bench: Bench) -> None:
    other = Bench()
    ours = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    theirs = other.flags(flag_config.plan_flag(FLAG, "enterprise"))
    assert ours.decide(FLAG, False, on_plan("pro")).value is True
    assert theirs.decide(FLAG, False, on_plan("pro")).value is False
    other.close()


def test_the_state_tells_age_and_problem(bench: Bench) -> None:
    evaluator = bench.flags()
    bench.source.problem = "nothing there"
    assert evaluator.state() == provider.FlagState(
        source="memory", etag=None, fetched_at=None, problem="nothing there"
    )
    bench.source.problem = None
    bench.source.put(flag_config.plan_flag(FLAG, "pro"), fetched_at=2_000.0)
    bench.clock.now += 1
    state = evaluator.state()
    assert (state.fetched_at, state.problem) == (2_000.0, None)


def test_a_confirmed_configuration_gets_younger_without_another_etag(bench: Bench) -> None:
    document = flag_config.plan_flag(FLAG, "pro")
    evaluator = bench.flags(document)
    before = evaluator.state()
    bench.source.put(document, fetched_at=2_000.0)
    bench.clock.now += 1
    after = evaluator.state()
    assert (after.etag, after.fetched_at) == (before.etag, 2_000.0)


def test_a_broken_file_keeps_the_last_good_flags(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(flag_config.plan_flag(FLAG, "pro")))
    evaluator = configcat.ConfigCatFlags(config_sources.FileSource(path), clock=bench.clock)
    before = evaluator.decide(FLAG, False, on_plan("pro"))
    path.write_text('{"f": {"proModel": {"t": 0, "v"')
    bench.clock.now += 1
    assert evaluator.decide(FLAG, False, on_plan("pro")) == before
    problem = evaluator.state().problem
    assert problem is not None
    assert "flags.json: not JSON" in problem
    evaluator.close()


@pytest.mark.parametrize(("plan", "value"), [("pro", True), ("enterprise", True), ("free", False)])
def test_the_shipped_flags_send_paying_plans_to_the_pro_tier(plan: str, value: bool) -> None:
    evaluator = configcat.ConfigCatFlags(config_sources.FileSource(SHIPPED))
    assert evaluator.decide(FLAG, False, on_plan(plan)).value is value
    evaluator.close()


@pytest.mark.parametrize("plan", ["se\ncret-plan", 4711.25, True, ["se\ncret-plan", "x"], "\ud800secret"])
def test_no_evaluation_logs_a_user(
    bench: Bench, caplog: pytest.LogCaptureFixture, plan: jobs.CustomValue
) -> None:
    flags = {}
    for comparator in range(36):
        rule = flag_config.rule("plan", ["pro"], True, comparator=comparator)
        rule["c"][0]["u"] |= {"s": "pro", "d": 1.0}
        flags[f"{FLAG}{comparator}"] = flag_config.flag(False, rules=[rule])
    evaluator = bench.flags(flag_config.document(flags))
    user = jobs.User.model_construct(
        id="anna-7", email="anna@example.com", country=None, custom={"plan": plan}
    )
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "configcat"):
        reasons = {evaluator.decide(key, False, user).reason for key in flags}
    assert reasons <= {"targeting_rule", "default", "error"}
    for private in ("anna", "secret", "4711", "cret-plan", "True"):
        assert private not in caplog.text


def test_evaluating_without_a_user_logs_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    evaluator = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    evaluator.state()
    caplog.clear()
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "configcat"):
        evaluator.decide(FLAG, False, None)
    assert caplog.text == ""


def test_a_flag_that_cannot_be_evaluated_is_logged_once_for_each_configuration(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    evaluator = bench.flags(flag_config.plan_flag("other", "pro"))
    for _ in range(5):
        evaluator.decide(FLAG, False)
    assert caplog.text.count("proModel cannot be evaluated") == 1
    bench.source.put(flag_config.plan_flag("another", "pro"))
    bench.clock.now += 1
    for _ in range(5):
        evaluator.decide(FLAG, False)
    assert caplog.text.count("proModel cannot be evaluated") == 2


def test_a_problem_is_logged_when_it_comes_and_when_it_goes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    evaluator = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    for problem in ("away", "away", "away", None, None):
        bench.source.problem = problem
        bench.clock.now += 1
        evaluator.decide(FLAG, False)
    assert [record.getMessage() for record in caplog.records] == [
        "flag configuration: away",
        "flag configuration: the problem is over",
    ]


def test_a_configuration_is_announced_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    document = flag_config.plan_flag(FLAG, "pro")
    evaluator = bench.flags(document)
    for age in range(5):
        bench.source.put(document, fetched_at=1_000.0 + age)
        bench.clock.now += 1
        evaluator.decide(FLAG, False)
    assert caplog.text.count(" serves") == 1


@pytest.mark.parametrize("key", ["not-a-key", "configcat-sdk-1/short/secret", "", None])
def test_an_unusable_sdk_key_is_refused_and_not_quoted(key: str | None) -> None:
    configuration = settings.Settings.model_validate({"configcat_sdk_key": key})
    poller = configcat_poller.FlagPoller(configuration, key_values.DictStore())
    with pytest.raises(errors.SettingsError, match="POINTSMAN_CONFIGCAT_SDK_KEY") as refusal:
        poller.start()
    assert refusal.value.__suppress_context__, "the SDK's own error quotes the key"
    assert "secret" not in str(refusal.value)
    assert "not-a-key" not in str(refusal.value)
    poller.close()


def test_the_end_of_a_jobs_time_is_not_taken_for_a_broken_flag(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = bench.flags(flag_config.plan_flag(FLAG, "pro"))

    def run_out(*_: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(flags._client, "get_value_details", run_out)
    with pytest.raises(SoftTimeLimitExceeded):
        flags.decide(FLAG, default=False)


def test_a_decision_is_remembered_for_each_user_until_the_configuration_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    evaluate: Any = flags._client.get_value_details
    asked: list[str | None] = []

    def counting(key: str, default: provider.Value, user: Any) -> Any:
        asked.append(user and user.get_identifier())
        return evaluate(key, default, user)

    monkeypatch.setattr(flags._client, "get_value_details", counting)
    users = [jobs.User(id="a", custom={"plan": "pro"}), jobs.User(id="a", custom={"plan": "free"}), None]
    first = [flags.decide(FLAG, False, user) for user in users]
    assert [flags.decide(FLAG, False, user) for user in users] == first
    assert asked == ["a", "a", None]
    bench.source.put(flag_config.plan_flag(FLAG, "free"))
    bench.clock.now += 2
    assert [flags.decide(FLAG, False, user).value for user in users] == [False, True, False]
    assert len(asked) == 6


@pytest.mark.parametrize("user", [jobs.User(id="x" * 200, country="y" * 100, email="z" * 320), "surrogate"])
def test_large_and_odd_users_are_decided_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, user: jobs.User | str
) -> None:
    asked = user if isinstance(user, jobs.User) else jobs.User.model_construct(id="\ud83d", custom={})
    flags = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    for _ in range(2):
        assert flags.decide(FLAG, False, asked).reason == provider.DEFAULT
    assert flags._decisions._known == {}


def test_no_more_decisions_are_remembered_than_the_bound(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configcat, "MOST_BYTES", 800)
    flags = bench.flags(flag_config.plan_flag(FLAG, "pro"))
    for number in range(10):
        assert flags.decide(FLAG, False, jobs.User(id=f"u{number}", custom={"plan": "pro"})).value is True
        assert len(flags._decisions._known) <= 3
