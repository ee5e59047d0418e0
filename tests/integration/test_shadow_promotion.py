"""A tier that promotes nothing without the shadow's verdict, from the training to the history, with real workers."""

from collections.abc import Iterator

import pytest
from sklearn.base import clone

from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models
from pointsman_producer.client.client import Client
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs
from tests.support import flag_config, live_tiers, running, tier_files, tiny
from tests.support.deadlines import eventually
from tests.support.running import Running
from tests.support.webhook import Webhook

TIMEOUT_S = 60
GATE = '[gate]\nmargin = 0.9\nrequire_shadow = "better"\n'
CHAMPION = 2
FREE = jobs.User(id="free", custom={"plan": "free"})
RIGHT = {
    text: intent for intent in (*tiny.BASE_INTENTS, names.OUT_OF_SCOPE) for text in tier_files.texts(intent)
}


def keep_confused(registry: Registry) -> int:
    """Keep a version of base that takes greetings for goodbyes and goodbyes for greetings."""
    model, card = registry.load("base", 1)
    confused = {"greeting": "goodbye", "goodbye": "greeting"}
    labels = [confused.get(intent, intent) for intent in RIGHT.values()]
    pipeline = clone(linear_models.to_pipeline(model)).fit([*RIGHT], labels)
    return registry.save("base", linear_models.from_pipeline(pipeline), card).version


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("shadow-promotion")
    data = live_tiers.write(folder / "data", gate=GATE)
    with running.deployment(folder, extra={"data_dir": data, "notice_urls": webhook.url}) as deployment:
        document = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
        document["f"][names.SHADOW_FLAG] = flag_config.flag(1.0)
        deployment.set_flags(document)
        deployment.registry.promote(
            "base", keep_confused(deployment.registry), "tests", "to have one to beat"
        )
        yield deployment


@pytest.fixture
def client(deployed: Running) -> Iterator[Client]:
    """A client of a deployment that serves the version that is easy to beat."""
    deployed.registry.promote("base", CHAMPION, "tests", "to have one to beat")
    with Client(settings=deployed.settings) as client:
        yield client


def compare(client: Client, candidate: int) -> None:
    """Serve texts until the workers compare what they answer with the candidate."""
    pair = names.version_name("base", CHAMPION), names.version_name("base", candidate)

    def compared() -> bool:
        for handle in client.submit_many([*RIGHT] * 3, users=FREE):
            handle.result(TIMEOUT_S)
        assert client.shadow.wait_drained(TIMEOUT_S)
        texts = {(row["served"], row["candidate"]): row["texts"] for row in client.shadow.pairs()}
        return bool(texts.get(pair, 0) >= len(RIGHT))

    eventually(compared, "the candidate is compared", TIMEOUT_S)


def label(client: Client, candidate: int, how_many: int) -> None:
    pair = names.version_name("base", CHAMPION), names.version_name("base", candidate)
    drawn = client.shadow.label_queue(*pair, limit=how_many)
    assert not any(row["agreed"] for row in drawn), "too few disagreements"
    client.shadow.label_many([{"job_id": row["job_id"], "label": RIGHT[row["text"]]} for row in drawn])


def test_a_version_serves_when_the_shadow_finds_it_better_and_not_before(
    client: Client, deployed: Running, webhook: Webhook
) -> None:
    def promote(version: int, **how: object) -> list[dict[str, object]]:
        asked = client.models("promote", tier="base", version=version, requested_by="marge", **how)
        return asked.result(TIMEOUT_S)

    trained = client.train("base").result(TIMEOUT_S)
    assert (trained.promoted, trained.candidate) == (False, True)
    assert trained.reasons == ["it passed the gate and is the candidate now; the shadow's verdict is awaited"]
    candidate = trained.version
    with pytest.raises(
        errors.RegistryError, match=f"the shadow has not compared base@{candidate} vs base@2 yet"
    ):
        promote(candidate)
    compare(client, candidate)
    with pytest.raises(errors.RegistryError, match="none of its disagreements is labelled yet"):
        promote(candidate)
    label(client, candidate, 3)
    with pytest.raises(errors.RegistryError, match=r"better is asked: about \d+ more labels at this rate"):
        promote(candidate)
    again = client.train("base").result(TIMEOUT_S)
    assert not again.candidate
    assert f"version {candidate} stays the candidate" in again.reasons[0]
    label(client, candidate, 20)
    assert promote(candidate) == [{"tier": "base", "version": candidate, "previous": CHAMPION}]

    entry = client.models("history", tier="base").result(TIMEOUT_S)[-1]
    assert (entry["what"], entry["who"], entry["version"]) == ("champion", "marge", candidate)
    assert entry["evidence"]["shadow"]["decision"] == "better"
    (card,) = client.models("show", tier="base", version=candidate).result(TIMEOUT_S)
    assert card["certificate"]["shadow"] == entry["evidence"]["shadow"]
    assert card["certificate"]["shadow"]["pair"] == f"base@{candidate} vs base@2"
    eventually(lambda: "base candidate" in webhook.events(), "the notice")


def test_the_next_run_promotes_a_candidate_whose_verdict_came_in(client: Client, deployed: Running) -> None:
    candidate = client.train("base").result(TIMEOUT_S).version
    compare(client, candidate)
    label(client, candidate, 25)
    client.train("base", requested_by="schedule").result(TIMEOUT_S)
    promoted = [entry for entry in deployed.registry.history("base") if entry.what == "champion"][-1]
    assert (promoted.version, promoted.who) == (candidate, "schedule")
    assert promoted.evidence["shadow"]["decision"] == "better"


def test_who_knows_better_says_why_and_what_spoke_against_it_is_kept(
    client: Client, deployed: Running
) -> None:
    version = client.train("base", promote=False).result(TIMEOUT_S).version
    client.models("nominate", tier="base", version=version, requested_by="marge").result(TIMEOUT_S)
    assert deployed.registry.aliases("base").candidate == version

    def force(why: str) -> None:
        client.models(
            "promote", tier="base", version=version, requested_by="olek", force=True, why=why
        ).result(TIMEOUT_S)

    with pytest.raises(errors.InvalidMessageError, match="needs a why"):
        force("")
    force("the old one is broken")
    entry = deployed.registry.history("base")[-1]
    assert (entry.who, entry.why) == ("olek", "the old one is broken")
    assert entry.evidence["forced"] is True
    assert any("the shadow has not compared" in reason for reason in entry.evidence["against"])
