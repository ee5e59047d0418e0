"""Training and changing the champion, through a real Redis, real workers and a real trainer."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman_producer.client.client import Client
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.store.labels import Labels
from pointsman_shared.wire import jobs
from tests.support import live_tiers, running, tier_files
from tests.support.deadlines import eventually
from tests.support.default_keys import TRAIN, keys
from tests.support.ledgers import open_letters
from tests.support.running import Running
from tests.support.webhook import Webhook

TIMEOUT_S = 60


# Enough fits to be caught in the middle.
@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("retraining")
    extra = {"data_dir": live_tiers.write(folder / "data"), "notice_urls": webhook.url}
    with running.deployment(folder, extra=extra) as deployment:
        yield deployment


@pytest.fixture
def settings(deployed: Running) -> Settings:
    return deployed.settings


@pytest.fixture
def data(deployed: Running) -> Iterator[Path]:
    """The tiers' data, as it was before the test afterwards."""
    yield deployed.settings.data_dir
    live_tiers.write(deployed.settings.data_dir)


def served(client: Client) -> set[int]:
    return {client.classify("hello there").model_version for _ in range(8)}


def test_a_trained_version_is_gated_promoted_served_and_reported(client: Client, webhook: Webhook) -> None:
    reply = client.train("base", requested_by="marge").result(TIMEOUT_S)
    assert (reply.promoted, reply.reasons) == (True, [])
    eventually(lambda: served(client) == {reply.version}, "every process serves it")
    (card,) = client.models("show", tier="base").result(TIMEOUT_S)
    assert card["certificate"]["approved_by"] == "gate"
    assert card["certificate"]["requested_by"] == "marge"
    eventually(lambda: {"base trained", "base promoted"} <= set(webhook.events()), "the notices")


def test_a_version_trained_without_promotion_is_promoted_later_and_rolled_back(
    client: Client, webhook: Webhook
) -> None:
    before = client.train("pro").result(TIMEOUT_S).version
    reply = client.train("pro", promote=False).result(TIMEOUT_S)
    assert not reply.promoted
    change = client.models("promote", tier="pro", version=reply.version, requested_by="olek", why="I know")
    assert change.result(TIMEOUT_S) == [{"tier": "pro", "version": reply.version, "previous": before}]
    (back,) = client.models("rollback", tier="pro", requested_by="olek").result(TIMEOUT_S)
    assert (back["version"], back["previous"]) == (before, reply.version)
    history = client.models("history", tier="pro").result(TIMEOUT_S)
    assert [(entry["what"], entry["who"], entry["why"]) for entry in history[-2:]] == [
        ("champion", "olek", "I know"),
        ("rollback", "olek", "by hand"),
    ]
    eventually(lambda: "pro rolled back" in webhook.events(), "the notice")


def test_certificates_are_verified_by_a_trainer_and_versions_compared(client: Client) -> None:
    version = client.train("base").result(TIMEOUT_S).version
    (answer,) = client.models("verify", tier="base", version=version).result(TIMEOUT_S)
    assert answer == {"tier": "base", "version": version, "holds": True, "differences": []}
    facts = client.models("diff", tier="base", version=1, other=version).result(TIMEOUT_S)
    assert {"what": "pipeline", "1": "tiny"}.items() <= next(
        f for f in facts if f["what"] == "pipeline"
    ).items()


def test_a_version_the_gate_stopped_needs_force(client: Client, data: Path, webhook: Webhook) -> None:
    tier_files.write_lines(data / "golden.jsonl", [("hello there", "goodbye"), ("bye now", "greeting")])
    reply = client.train("base").result(TIMEOUT_S)
    assert not reply.promoted
    assert len([reason for reason in reply.reasons if "golden utterance" in reason]) == 2
    with pytest.raises(errors.RegistryError, match="must not be promoted: golden utterance 'hello"):
        client.models("promote", tier="base", version=reply.version).result(TIMEOUT_S)
    eventually(lambda: "base rejected" in webhook.events(), "the notice")
    notice = [notice for notice in webhook.notices if notice["event"] == "rejected"][-1]
    assert (notice["version"], notice["reasons"]) == (reply.version, reply.reasons)


def test_a_second_run_of_a_tier_is_refused_or_joins_and_a_run_can_be_cancelled(
    client: Client, data: Path
) -> None:
    live_tiers.write(data, search=live_tiers.SLOW)
    # The trainer reads the declaration anew for each run.
    first = client.train("base")
    with pytest.raises(errors.BusyError, match=first.id):
        client.train("base")
    joined = client.train("base", on_busy="join")
    assert joined.id == first.id
    eventually(lambda: first.progress() is not None, "the run has started")
    assert client.cancel_training("base") == first.id
    for handle in (first, joined):
        with pytest.raises(errors.CancelledError, match="was cancelled"):
            handle.result(TIMEOUT_S)
    assert client.cancel_training("base") is None


def test_a_scheduled_run_that_meets_another_one_is_left_out(
    deployed: Running, client: Client, data: Path
) -> None:
    live_tiers.write(data, search=live_tiers.SLOW)
    slow = client.train("base")
    eventually(lambda: slow.progress() is not None, "the run has started")
    request = jobs.TrainRequest(tier="pro", requested_by="schedule")
    scheduled = client._ask(names.TRAIN_TASK, request.model_dump(), names.TRAIN_QUEUE, "tier pro")
    booked = client.train("pro")
    client.cancel_training("base")
    with pytest.raises(errors.BusyError, match=booked.id):
        scheduled.result(TIMEOUT_S)
    client.cancel_training("pro")
    for handle in (slow, booked):
        with pytest.raises(errors.CancelledError):
            handle.result(TIMEOUT_S)
    letters = open_letters(deployed.settings).find()
    assert [letter.id for letter in letters if letter.error == "BusyError"] == []


def test_the_same_run_sent_twice_is_done_once(deployed: Running, client: Client) -> None:
    before = deployed.registry.versions("pro")
    request = jobs.TrainRequest(tier="pro", requested_by="schedule").model_dump()
    for _ in range(2):
        client._outbox.send(
            names.TRAIN_TASK,
            request,
            message_id="train-pro-2026-01-01T03:00:00",
            queue=TRAIN,
            summary="tier pro",
        )
    client.train("base", on_busy="join").result(TIMEOUT_S)
    assert len(deployed.registry.versions("pro")) == len(before) + 1


def test_labels_from_the_product_are_learnt(deployed: Running, client: Client) -> None:
    with Store.connect(deployed.settings) as store:
        label = {"text": "ahoy matey", "intent": "greeting", "tier": "base", "by": "marge"}
        labels = Labels(store, deployed.settings)
        labels.add("message:0", label)
        labels.add("message:1", {**label, "text": None})
        version = client.train("base").result(TIMEOUT_S).version
        store.delete(keys.labels, keys.label_times)
    (card,) = client.models("show", tier="base", version=version).result(TIMEOUT_S)
    assert [(source["name"], source["rows"]) for source in card["data"]][-1] == ("labels", 1)


def test_of_a_promoted_version_that_cannot_be_loaded_people_are_notified_and_the_old_one_serves_on(
    deployed: Running, client: Client, webhook: Webhook
) -> None:
    good = client.train("base").result(TIMEOUT_S).version
    eventually(lambda: served(client) == {good}, "the good one serves")
    bad = client.train("base", promote=False).result(TIMEOUT_S).version
    model = Path(deployed.settings.registry_url, "base", str(bad), "model.npz")
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(errors.RegistryError, match="bytes in the place of"):
        client.models("promote", tier="base", version=bad).result(TIMEOUT_S)
    deployed.registry.promote("base", bad, "tests", "past the check")
    eventually(lambda: webhook.events().count("base swap failed") == 1, "one notice")
    assert served(client) == {good}
    client.models("rollback", tier="base").result(TIMEOUT_S)
    assert served(client) == {good}


def test_of_two_promotions_at_once_none_is_lost(deployed: Running, client: Client) -> None:
    versions = [client.train("pro", promote=False).result(TIMEOUT_S).version for _ in range(2)]
    before = len(deployed.registry.history("pro"))
    outcomes: list[bool] = []

    def promote(version: int) -> None:
        handle = client.models("promote", tier="pro", version=version)
        try:
            handle.result(TIMEOUT_S)
        except (errors.ConflictError, errors.RegistryError):
            # Refused because the other was faster, or, if it was much faster, because another champion serves by now.
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=promote, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert sorted(outcomes) == [False, True]
    assert len(deployed.registry.history("pro")) == before + 1
