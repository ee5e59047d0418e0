"""Beat retrains on the shipped data, by the shipped gate, while jobs flow that notice nothing of it.

The data grows, goes bad, and is asked for what it does not give. A run follows the other more closely than a deployment
would ever have it, and beat was started twice.
"""

from pathlib import Path

import pytest
from redis import Redis

from pointsman_models.data import tiers
from pointsman_models.data.golden import read as read_golden
from pointsman_models.registry.certificate import Certificate
from pointsman_models.registry.versions import Registry
from pointsman_producer.client.client import Client
from pointsman_producer.deployment import launcher
from pointsman_producer.diagnostics import probe
from pointsman_shared.data_files import utterances
from pointsman_shared.store.connection import Store
from tests.support import beats, running, shipped
from tests.support.deadlines import eventually
from tests.support.default_keys import keys
from tests.support.running import Running
from tests.support.traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EAGER_APP = "tests.support.eager_app"
JOBS_A_SECOND = 200
DEADLINE_S = 180


def serving(deployed: Running) -> set[int]:
    """Ask every process which version of base it serves."""
    with Store.connect(deployed.settings) as store:
        return {process["tiers"]["base"] for process in probe.processes(store)}


def judged(registry: Registry, rows: str, golden: int) -> list[Certificate]:
    """Give the certificates of the versions that learnt some rows and had to be right about so many golden ones."""
    learnt = [
        version
        for version in registry.versions("base")
        if any(file.name.startswith(f"{rows}/") for file in registry.card("base", version).data[:1])
    ]
    found = [registry.certificate("base", version) for version in learnt]
    return [one for one in found if one is not None and one.figures["golden"] == golden]


def learnt(deployed: Running, rows: str, golden: str | None) -> list[Certificate]:
    """Change the data; wait until beat has had it learnt, and judged."""
    folder = deployed.settings.data_dir
    shipped.declare(folder, rows, golden)
    wanted = len(read_golden(tiers.load(folder)["base"]))
    eventually(lambda: judged(deployed.registry, rows, wanted) != [], f"a version of {rows}", DEADLINE_S)
    return judged(deployed.registry, rows, wanted)


def known(registry: Registry) -> dict[str, str]:
    """Give golden texts that the champion is right about, as everything that may follow it has to be."""
    version = registry.champion("base")
    assert version is not None
    golden = utterances.read(shipped.DATA / "golden.jsonl")
    answers = registry.load_classifier("base", version).classify([row.text for row in golden]).intent
    return {
        row.text: row.intent
        for row, answer in zip(golden, answers, strict=True)
        if row.intent == answer and row.intent in shipped.INTENTS
    }


def ended_runs(deployed: Running) -> int:
    with Redis.from_url(deployed.settings.redis_url.get_secret_value()) as redis:
        return len(list(redis.scan_iter(keys.done("train-*"))))


def test_retraining_goes_unnoticed_by_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "APP", EAGER_APP)
    monkeypatch.setenv("EAGER_EVERY_S", "8")
    data = shipped.write(tmp_path / "data")
    shipped.declare(data, "early", golden=None)
    extra = {"data_dir": data, "train_schedule": {"base": "* * * * *"}}
    with (
        running.deployment(tmp_path, beat=True, extra=extra) as deployed,
        Client(settings=deployed.settings) as client,
        beats.beat(deployed.settings, tmp_path / "second", EAGER_APP) as second,
    ):
        registry = deployed.registry
        assert learnt(deployed, "early", golden=None)[0].approved_by == "gate"
        eventually(lambda: serving(deployed) == {registry.champion("base")}, "every process serves it")
        answers = known(registry)
        with Traffic(client, JOBS_A_SECOND, list(answers)) as traffic:
            better = learnt(deployed, "utterances", golden="golden.jsonl")[0]
            assert better.approved_by == "gate"
            assert better.figures["comparison"]["lower_bound"] > 0, "it is better, not merely no worse"
            eventually(lambda: registry.champion("base") == better.version, "it is promoted")
            eventually(lambda: serving(deployed) == {better.version}, "every process serves it")
            worse = learnt(deployed, "shuffled", golden="broken.jsonl")[0]
            good = registry.champion("base")
            eventually(lambda: serving(deployed) == {good}, "the good champion in every process")
        replies = [message.result(DEADLINE_S) for message in traffic.messages]
        # Both beats asked for every run, and each was done once; the first version was there before.
        eventually(
            lambda: ended_runs(deployed) == len(registry.versions("base")) - 1, "no run under way", DEADLINE_S
        )
    champions = {entry.champion for entry in registry.history("base") if entry.what == "champion"}
    assert worse.version not in champions
    assert any(reason.startswith("macro-F1 ") for reason in worse.reasons), (
        "the labels of one intent are shuffled"
    )
    for text in shipped.WRONG:
        assert any(reason.startswith(f"golden utterance {text!r}") for reason in worse.reasons)
    assert second.read_text().count("Sending due task") >= 2
    assert [reply.intent[0] for reply in replies] == [answers[text] for text in traffic.texts]
    served = {reply.routes[0].model_version for reply in replies}
    assert {better.version, good} <= served <= champions
    assert len({reply.message_id for reply in replies}) == len(traffic.messages)
