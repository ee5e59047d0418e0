"""One suite over the registry in a folder, in fsspec's memory and in an S3 bucket (of moto's server)."""

import contextlib
import json
import pickle
import resource
import stat
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest

from pointsman_models.inference.scorer import FusedScorer
from pointsman_models.registry import card as cards
from pointsman_models.registry import model_file
from pointsman_models.registry.card import Card
from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models
from pointsman_shared import errors, names
from tests.support import tiny
from tests.support.cards import card_of

MODEL = linear_models.from_pipeline(tiny.fitted((*tiny.BASE_INTENTS, names.OUT_OF_SCOPE)))
ANSWERS = tiny.make_classifier().classify(["hi", "bye"])
SELF_TEST = tuple(
    cards.SelfTest(text=text, intent=intent, confidence=confidence)
    for text, intent, confidence in zip(("hi", "bye"), ANSWERS.intent, ANSWERS.confidence, strict=True)
)


def make_card(**changes: Any) -> Card:
    return card_of(
        MODEL,
        **{
            "requested_by": "marge",
            "duration_s": 1.0,
            "pipeline": "words",
            "parameters": {"c": 1.0},
            "metrics": {"macro_f1": 0.9},
            "self_test": SELF_TEST,
            **changes,
        },
    )


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 on this machine."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry in a bucket of its own."""
    pytest.importorskip("s3fs")
    settings = {"ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": "tests", "ENDPOINT_URL": s3_server}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(bucket)
    yield f"s3://{bucket}/registry"
    fsspec.filesystem("s3").rm(bucket, recursive=True)


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "not" / "yet" / "there")
    elif request.param == "s3":
        yield request.getfixturevalue("s3_url")
    else:
        yield "memory://registry"
        fsspec.filesystem("memory").rm("/registry", recursive=True)


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    opened = Registry(url)
    yield opened
    # So that the memory always has something to remove.
    opened.save("last", MODEL, make_card(tier="last"))


class Store:
    """Reaches past the registry, as a disk fault or an intruder would."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.url_to_fs(url)

    def read(self, path: str) -> bytes:
        content: bytes = self._fs.cat_file(f"{self._root}/{path}")
        return content

    def write(self, path: str, content: bytes) -> None:
        self._fs.pipe_file(f"{self._root}/{path}", content)

    def remove(self, path: str) -> None:
        self._fs.rm(f"{self._root}/{path}")

    def swap_model(self, content: bytes) -> None:
        """Replace base's first model, and its digest on the card as well."""
        self.write("base/1/model.npz", content)
        card = json.loads(self.read("base/1/card.json"))
        card["files"]["model.npz"] = cards.digest(content).model_dump()
        self.write("base/1/card.json", json.dumps(card).encode())


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


def refusal(registry: Registry, version: int = 1) -> str:
    with pytest.raises(errors.RegistryError) as caught:
        registry.load_classifier("base", version)
    return str(caught.value)


def test_an_untrained_tier_has_nothing(registry: Registry) -> None:
    assert registry.versions("base") == []
    assert registry.champion("base") is None
    assert registry.history("base") == []


def test_what_was_saved_is_loaded_again_and_scores_the_same(registry: Registry) -> None:
    saved = registry.save("base", MODEL, make_card())
    model, card = registry.load("base", saved.version)
    texts = ["hi there", "when do you close", "", "parcel"]
    scores = [FusedScorer(one).decision_function(texts).tolist() for one in (model, MODEL)]
    assert scores[0] == scores[1]
    assert card == saved
    assert card.files["model.npz"].size > 0


def test_the_serving_form_answers_as_when_it_was_trained(registry: Registry) -> None:
    registry.save("base", MODEL, make_card())
    classifier = registry.load_classifier("base", 1)
    assert (classifier.tier, classifier.version, classifier.intents) == ("base", 1, tiny.BASE_INTENTS)
    assert classifier.classify(["hi"]) == tiny.make_classifier().classify(["hi"])


def test_versions_are_numbered_for_each_tier_and_listed_oldest_first(registry: Registry) -> None:
    for _ in range(11):
        registry.save("base", MODEL, make_card())
    assert registry.save("pro", MODEL, make_card()).version == 1
    assert registry.versions("base") == list(range(1, 12))


def test_many_who_save_at_once_all_get_numbers_of_their_own(url: str, registry: Registry) -> None:
    def save(_: int) -> int:
        return Registry(url).save("base", MODEL, make_card()).version

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(save, range(16))) == list(range(1, 17))
    assert registry.versions("base") == list(range(1, 17))


def test_a_version_that_was_interrupted_is_not_listed_and_its_number_not_given_again(
    registry: Registry, store: Store
) -> None:
    registry.save("base", MODEL, make_card())
    store.remove("base/1/card.json")
    assert registry.versions("base") == []
    assert "has no version 1" in refusal(registry)
    assert registry.save("base", MODEL, make_card()).version == 2


def test_a_promoted_version_is_the_champion_for_every_reader(url: str, registry: Registry) -> None:
    for _ in range(2):
        registry.save("base", MODEL, make_card())
    registry.promote("base", 1, "marge", "first")
    registry.promote("base", 2, "olek", "better")
    assert Registry(url).champion("base") == 2
    assert [
        (entry.who, entry.what, entry.version, entry.previous, entry.why)
        for entry in registry.history("base")
    ] == [
        ("marge", "champion", 1, None, "first"),
        ("olek", "champion", 2, 1, "better"),
    ]


def test_rolling_back_is_promoting_the_older_one(registry: Registry) -> None:
    for _ in range(2):
        registry.save("base", MODEL, make_card())
    registry.promote("base", 2, "marge", "new")
    registry.promote("base", 1, "marge", "complaints")
    assert registry.champion("base") == 1
    assert registry.history("base")[-1].previous == 2


def test_a_candidate_that_is_promoted_is_no_candidate_any_more(registry: Registry) -> None:
    for _ in range(2):
        registry.save("base", MODEL, make_card())
    registry.promote("base", 1, "marge", "first")
    registry.nominate("base", 2, "marge", "try it in the shadow")
    assert (registry.aliases("base").champion, registry.aliases("base").candidate) == (1, 2)
    registry.promote("base", 2, "marge", "it won")
    assert (registry.aliases("base").champion, registry.aliases("base").candidate) == (2, None)


def test_only_what_exists_is_promoted(registry: Registry) -> None:
    registry.save("base", MODEL, make_card())
    with pytest.raises(errors.RegistryError, match=r"has no version 7; it has \[1\]"):
        registry.promote("base", 7, "marge", "typo")
    assert (registry.champion("base"), registry.history("base")) == (None, [])


def test_a_truncated_model_is_refused(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    store.write("base/1/model.npz", store.read("base/1/model.npz")[:-10])
    assert "bytes in the place of" in refusal(registry)


def test_a_model_with_one_changed_byte_is_refused(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    content = bytearray(store.read("base/1/model.npz"))
    content[len(content) // 2] ^= 1
    store.write("base/1/model.npz", bytes(content))
    assert "SHA-256 differs" in refusal(registry)


def test_a_missing_model_is_refused(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    store.remove("base/1/model.npz")
    assert "model.npz is missing" in refusal(registry)


class Bomb:
    """Leaves a trace when it is unpickled."""

    exploded: ClassVar[list[int]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return (Bomb.exploded.append, (1,))


def test_a_pickle_in_disguise_is_refused_and_never_run(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    store.swap_model(pickle.dumps(Bomb()))
    assert "not a file that Pointsman wrote (a pickle is never loaded)" in refusal(registry)
    assert Bomb.exploded == []


def test_an_archive_with_a_pickled_array_is_refused_and_never_run(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    for name in ("description", "0.weights"):
        store.swap_model(changed(**{name: np.array([Bomb()], dtype=object)}))
        assert "cannot be read (ValueError)" in refusal(registry)
    assert Bomb.exploded == []


def changed(**arrays: object) -> bytes:
    """Return the content of the model's file with other arrays."""
    file = BytesIO()
    with np.load(BytesIO(model_file.write(MODEL))) as whole:
        np.savez(file, **{**whole, **arrays})
    return file.getvalue()


@pytest.mark.parametrize(
    "arrays",
    [
        {"intercept": np.zeros(2)},
        {"0.idf": np.zeros(3)},
        {"1.weights": np.full_like(MODEL.blocks[1].weights, np.nan)},
        {"description": np.frombuffer(b'{"format": 2}', dtype=np.uint8)},
        {"description": np.frombuffer(b"[", dtype=np.uint8)},
        {"1.terms": np.frombuffer(b'["a"]', dtype=np.uint8)},
    ],
    ids=["columns", "idf", "not finite", "newer format", "no JSON", "terms"],
)
def test_arrays_that_are_no_model_are_refused(
    registry: Registry, store: Store, arrays: dict[str, object]
) -> None:
    registry.save("base", MODEL, make_card())
    store.swap_model(changed(**arrays))
    assert "cannot be read" in refusal(registry)


def test_a_zip_archive_that_is_no_model_is_refused(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("schema.json", "{}")
    store.swap_model(archive.getvalue())
    assert "cannot be read" in refusal(registry)


def test_a_model_of_other_classes_than_its_card_is_refused(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    store.swap_model(model_file.write(linear_models.from_pipeline(tiny.fitted(("greeting", "goodbye")))))
    assert "classes are not those of its card" in refusal(registry)


def test_a_model_that_answers_otherwise_than_when_it_was_trained_is_refused(registry: Registry) -> None:
    wrong = cards.SelfTest(text="hi", intent="goodbye", confidence=0.9)
    registry.save("base", MODEL, make_card(self_test=(wrong,)))
    assert "answers 'hi' with greeting" in refusal(registry)


def test_damaged_cards_and_aliases_are_refused(registry: Registry, store: Store) -> None:
    registry.save("base", MODEL, make_card())
    store.write("base/1/card.json", b'{"tier": "base"')
    assert "card.json is damaged" in refusal(registry)
    store.write("base/aliases.json", b"")
    with pytest.raises(errors.RegistryError, match=r"aliases\.json is damaged"):
        registry.champion("base")


def test_the_card_of_another_version_is_refused(registry: Registry, store: Store) -> None:
    for _ in range(2):
        registry.save("base", MODEL, make_card())
    store.write("base/1/card.json", store.read("base/2/card.json"))
    assert "is the card of base 2" in refusal(registry)


def test_fields_of_a_newer_pointsman_are_read_past(registry: Registry, store: Store) -> None:
    saved = registry.save("base", MODEL, make_card())
    newer = {**json.loads(store.read("base/1/card.json")), "drift": {"psi": 0.1}}
    store.write("base/1/card.json", json.dumps(newer).encode())
    assert registry.card("base", 1) == saved


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", ".hidden"])
def test_a_tier_name_cannot_lead_out_of_the_registry(registry: Registry, name: str) -> None:
    with pytest.raises(errors.UnknownTierError):
        registry.champion(name)


def test_a_url_that_nothing_can_open_is_a_matter_of_settings() -> None:
    with pytest.raises(errors.SettingsError, match="registry URL"):
        Registry("nosuchprotocol://somewhere")


def test_a_folder_holds_no_leftovers_of_replaced_files(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    registry.save("base", MODEL, make_card())
    registry.promote("base", 1, "marge", "first")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "base/1/model.npz",
        "base/1/card.json",
        "base/aliases.json",
        "base/history/00000001.json",
    }


def save_two(registry: Registry) -> None:
    for _ in range(2):
        registry.save("base", MODEL, make_card())


def test_of_promotions_at_once_one_wins_and_the_others_are_conflicts(url: str, registry: Registry) -> None:
    save_two(registry)
    seen = registry.aliases("base")

    def promote(number: int) -> bool:
        try:
            Registry(url).promote("base", number % 2 + 1, f"person {number}", "mine", expected=seen)
        except errors.ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(promote, range(8)))
    assert won.count(True) == 1
    (entry,) = registry.history("base")
    assert entry.who == f"person {won.index(True)}"
    assert registry.champion("base") == entry.version


def test_a_promotion_decided_on_an_older_champion_is_refused(registry: Registry) -> None:
    save_two(registry)
    seen = registry.aliases("base")
    registry.promote("base", 1, "marge", "first")
    with pytest.raises(errors.ConflictError, match="by marge: version 1"):
        registry.promote("base", 2, "olek", "better", expected=seen)
    assert registry.champion("base") == 1


def test_a_promoter_that_dies_before_it_copied_the_aliases_has_promoted_all_the_same(
    registry: Registry, store: Store
) -> None:
    save_two(registry)
    registry.promote("base", 1, "marge", "first")
    copy = store.read("base/aliases.json")
    registry.promote("base", 2, "olek", "better")
    store.write("base/aliases.json", copy)
    assert registry.champion("base") == 2
    store.write("base/aliases.json", b"{half")
    assert registry.champion("base") == 2
    store.remove("base/aliases.json")
    assert registry.champion("base") == 2


def test_the_history_is_read_once_and_anew_in_another_registry(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = registry._storage.read

    def counting(path: str) -> bytes:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(registry._storage, "read", counting)
    registry.save("base", MODEL, make_card())
    for _ in range(5):
        registry.promote("base", 1, "marge", "again")
    assert len(registry.history("base")) == 5
    read.clear()
    assert len(registry.history("base")) == 5
    assert len(read) == 2, "the last entry, and the one that might follow it"
    registry._storage.remove_folder(registry._storage.path("base"))
    assert registry.history("base") == []
    registry.save("base", MODEL, make_card())
    registry.promote("base", 1, "olek", "another")
    assert [entry.who for entry in registry.history("base")] == ["olek"]


def test_the_history_keeps_the_evidence(registry: Registry) -> None:
    save_two(registry)
    registry.promote("base", 1, "marge", "first", evidence={"macro_f1": 0.9})
    (entry,) = registry.history("base")
    assert (entry.who, entry.why, entry.evidence) == ("marge", "first", {"macro_f1": 0.9})


def test_rolling_back_twice_goes_two_champions_back(registry: Registry) -> None:
    for number in range(1, 4):
        registry.save("base", MODEL, make_card())
        registry.promote("base", number, "marge", "newer")
    assert registry.rollback("base", "olek", "complaints") == 2
    assert registry.rollback("base", "olek", "more complaints") == 1
    assert [entry.what for entry in registry.history("base")][-2:] == ["rollback", "rollback"]
    with pytest.raises(errors.RegistryError, match="no earlier champion"):
        registry.rollback("base", "olek", "even more")
    assert registry.champion("base") == 1


def test_a_rolled_back_version_is_known_as_such_until_it_is_promoted_again(registry: Registry) -> None:
    save_two(registry)
    registry.promote("base", 1, "marge", "first")
    registry.promote("base", 2, "marge", "newer")
    assert registry.rolled_back("base") == set()
    registry.rollback("base", "olek", "complaints")
    assert registry.rolled_back("base") == {2}
    registry.promote("base", 2, "olek", "it was not the model")
    assert registry.rolled_back("base") == set()


def test_pruning_keeps_the_newest_the_aliases_and_the_way_back(registry: Registry) -> None:
    for _ in range(9):
        registry.save("base", MODEL, make_card())
    for version in (1, 2, 3):
        registry.promote("base", version, "marge", "newer")
    registry.nominate("base", 5, "marge", "try")
    assert registry.prune("base", keep=2) == [1, 4, 6, 7]
    assert registry.versions("base") == [2, 3, 5, 8, 9]
    assert registry.rollback("base", "olek", "back") == 2
    assert registry.save("base", MODEL, make_card()).version == 10


def test_the_number_of_a_pruned_version_is_not_given_again(registry: Registry) -> None:
    for _ in range(3):
        registry.save("base", MODEL, make_card())
    registry.promote("base", 1, "marge", "first")
    registry.prune("base", keep=1)
    assert registry.versions("base") == [1, 3]
    assert registry.save("base", MODEL, make_card()).version == 4


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let every file that is written end after a hundred bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_leaves_no_half_version(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    registry.save("base", MODEL, make_card())
    registry.promote("base", 1, "marge", "first")
    with full_disk():
        for change in (
            lambda: registry.save("base", MODEL, make_card()),
            lambda: registry.nominate("base", 1, "marge", "try it"),
        ):
            with pytest.raises(
                errors.UnavailableError, match="the registry cannot be written: File too large"
            ):
                change()
    assert registry.versions("base") == [1]
    assert registry.champion("base") == 1
    assert len(registry.history("base")) == 1
    assert not [path for path in tmp_path.rglob("*") if len(path.suffix) > 30], "no staged file is left"
    assert registry.save("base", MODEL, make_card()).version > 1


def test_a_place_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    registry = Registry(str(tmp_path / "file" / "registry"))
    with pytest.raises(errors.RegistryError, match="the registry cannot be read: Not a directory"):
        registry.save("base", MODEL, make_card())


@pytest.mark.parametrize(("made_before", "mode"), [(False, 0o700), (True, 0o770)])
def test_a_folder_that_the_registry_makes_is_for_its_user_alone(
    tmp_path: Path, made_before: bool, mode: int
) -> None:
    folder = tmp_path / "not" / "there"
    if made_before:
        folder.mkdir(parents=True)
        folder.chmod(mode)
    Registry(str(folder)).save("base", MODEL, make_card(tier="base"))
    assert stat.S_IMODE(folder.stat().st_mode) == mode
