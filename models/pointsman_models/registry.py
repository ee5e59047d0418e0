"""The registry: immutable versions of every tier, and which of them serves.

    <tier>/<n>/model.skops    the fitted pipeline, never a pickle
    <tier>/<n>/card.json      written last: without it there is no version
    <tier>/aliases.json       {"champion": 3, "candidate": null}, replaced in one step
    <tier>/history.jsonl      who made which version champion, when and why; only ever appended to

It lies in a folder or under any other URL that fsspec knows. Several processes may write and read it at once.
"""

import json
import threading
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.pipeline import Pipeline

from pointsman_models import card as cards
from pointsman_models import model_file, tiers
from pointsman_models.card import Card
from pointsman_models.classifier import Classifier
from pointsman_shared import errors, jobs

MODEL: Final = "model.skops"
CARD: Final = "card.json"
ALIASES: Final = "aliases.json"
HISTORY: Final = "history.jsonl"
# fsspec's memory:// looks before it writes, in two steps; the stores of other processes take one.
_CLAIM = threading.Lock()


class Aliases(BaseModel):
    """Which versions have a part to play."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    champion: int | None = None
    """The version that serves."""
    candidate: int | None = None
    """The version that may follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One change of an alias."""

    at: str
    who: str
    what: str
    version: int
    previous: int | None
    why: str


class Registry:
    """Keeps versions, finds them again, and refuses those that are not what was kept."""

    def __init__(self, url: str) -> None:
        """Open a registry; an empty one needs no preparation.

        Args:
            url: A folder or an fsspec URL, such as `s3://bucket/registry`.

        Raises:
            SettingsError: The URL's protocol is unknown or its driver is not installed.
        """
        try:
            self._fs, self._root = fsspec.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            msg = f"the registry URL cannot be used: {error}"
            raise errors.SettingsError(msg) from error

    def versions(self, tier: str) -> list[int]:
        """List a tier's complete versions, oldest first."""
        return [number for number in self._numbers(tier) if self._fs.exists(self._path(tier, number, CARD))]

    def aliases(self, tier: str) -> Aliases:
        """Give the versions that have a part to play; none for a tier that was never trained.

        Raises:
            RegistryError: The file that says so is damaged.
        """
        path = self._path(tier, ALIASES)
        try:
            return Aliases.model_validate_json(self._fs.cat_file(path))
        except FileNotFoundError:
            return Aliases()
        except ValidationError as error:
            msg = f"{path} is damaged ({jobs.describe(error)}): promote a version again"
            raise errors.RegistryError(msg) from None

    def champion(self, tier: str) -> int | None:
        """Give the version that serves, if any. Cheap: it reads one small file."""
        return self.aliases(tier).champion

    def history(self, tier: str) -> list[HistoryEntry]:
        """Give all changes of the aliases, oldest first."""
        try:
            lines = self._fs.cat_file(self._path(tier, HISTORY)).decode().splitlines()
        except FileNotFoundError:
            return []
        return [HistoryEntry(**json.loads(line)) for line in lines]

    def card(self, tier: str, version: int) -> Card:
        """Read a version's card.

        Raises:
            RegistryError: There is no such version, or its card is damaged or belongs to another.
        """
        path = self._path(tier, version, CARD)
        try:
            found = Card.model_validate_json(self._fs.cat_file(path))
        except FileNotFoundError:
            msg = f"{tier} has no version {version}; it has {self.versions(tier) or 'none: train it'}"
            raise errors.RegistryError(msg) from None
        except ValidationError as error:
            msg = f"{path} is damaged: {jobs.describe(error)}"
            raise errors.RegistryError(msg) from None
        if (found.tier, found.version) != (tier, version):
            msg = f"{path} is the card of {found.tier} {found.version}: the folder was copied or renamed"
            raise errors.RegistryError(msg)
        return found

    def load(self, tier: str, version: int) -> tuple[Pipeline, Card]:
        """Load a version's fitted pipeline.

        Raises:
            RegistryError: It is absent, incomplete, not what was saved, of unknown content, or made with another
                scikit-learn. The message says which, and what to do.
        """
        card = self.card(tier, version)
        try:
            cards.check_libraries(card.libraries)
            pipeline = model_file.read(self._verified(card), classes=card.classes)
        except errors.RegistryError as error:
            msg = f"{tier} {version}: {error}"
            raise errors.RegistryError(msg) from error
        return pipeline, card

    def load_classifier(self, tier: str, version: int) -> Classifier:
        """Load a version in its serving form, and ask it what it was asked when it was trained.

        Raises:
            RegistryError: As `load`, or an answer differs.
        """
        pipeline, card = self.load(tier, version)
        try:
            classifier = Classifier.from_pipeline(
                pipeline,
                tier=tier,
                version=version,
                classes=card.classes,
                temperature=card.temperature,
                threshold=card.threshold,
            )
            cards.check_self_test(card, classifier)
        except (ValueError, errors.RegistryError) as error:
            msg = f"{tier} {version}: {error}"
            raise errors.RegistryError(msg) from error
        return classifier

    def save(self, tier: str, pipeline: Pipeline, card: Card) -> Card:
        """Keep a fitted pipeline as the tier's next version.

        A number is given once: also a version that was cut off half-way keeps its own.

        Returns:
            The card as saved, with the version's number and the digests of its files.
        """
        content = model_file.write(pipeline)
        version = self._claim(tier, content)
        saved = card.model_copy(
            update={"tier": tier, "version": version, "files": {MODEL: cards.digest(content)}}
        )
        self._replace(self._path(tier, version, CARD), saved.model_dump_json(indent=2).encode())
        return saved

    def promote(self, tier: str, version: int, who: str, why: str) -> None:
        """Make a version the champion; making an older one champion again is how one rolls back.

        Raises:
            RegistryError: There is no such version.
        """
        self.card(tier, version)
        before = self.aliases(tier)
        candidate = None if before.candidate == version else before.candidate
        self._note(tier, who=who, what="champion", version=version, previous=before.champion, why=why)
        self._set_aliases(tier, Aliases(champion=version, candidate=candidate))

    def nominate(self, tier: str, version: int, who: str, why: str) -> None:
        """Make a version the candidate.

        Raises:
            RegistryError: There is no such version.
        """
        self.card(tier, version)
        before = self.aliases(tier)
        self._note(tier, who=who, what="candidate", version=version, previous=before.candidate, why=why)
        self._set_aliases(tier, Aliases(champion=before.champion, candidate=version))

    def _claim(self, tier: str, content: bytes) -> int:
        """Write the model under the next free number; creating the file is what claims the number."""
        version = max(self._numbers(tier), default=0)
        while True:
            version += 1
            self._fs.makedirs(self._path(tier, version), exist_ok=True)
            try:
                with _CLAIM:
                    self._fs.pipe_file(self._path(tier, version, MODEL), content, mode="create")
            except FileExistsError:
                continue
            return version

    def _verified(self, card: Card) -> bytes:
        path = self._path(card.tier, card.version, MODEL)
        try:
            content: bytes = self._fs.cat_file(path)
        except FileNotFoundError:
            msg = f"{MODEL} is missing: train the tier again or promote another version"
            raise errors.RegistryError(msg) from None
        cards.check_digest(content, MODEL, card.files.get(MODEL))
        return content

    def _numbers(self, tier: str) -> list[int]:
        try:
            found = self._fs.ls(self._path(tier), detail=False)
        except FileNotFoundError:
            return []
        last = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(int(name) for name in last if name.isascii() and name.isdecimal())

    def _note(self, tier: str, *, who: str, what: str, version: int, previous: int | None, why: str) -> None:
        """Append to the history; before the change itself, so that no change goes unrecorded."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = HistoryEntry(at=now, who=who, what=what, version=version, previous=previous, why=why)
        with self._fs.open(self._path(tier, HISTORY), "ab") as file:
            file.write(json.dumps(asdict(entry)).encode() + b"\n")

    def _set_aliases(self, tier: str, aliases: Aliases) -> None:
        self._replace(self._path(tier, ALIASES), aliases.model_dump_json().encode())

    def _replace(self, path: str, content: bytes) -> None:
        """Write a file so that a reader sees the old or the new content, never a part."""
        if not isinstance(self._fs, LocalFileSystem):
            self._fs.pipe_file(path, content)
            return
        temporary = f"{path}.{uuid.uuid4().hex}"
        self._fs.pipe_file(temporary, content)
        self._fs.mv(temporary, path)

    def _path(self, tier: str, *parts: str | int) -> str:
        # Tier names come off the wire: one must not lead out of the registry.
        if not tiers.NAME.fullmatch(tier):
            msg = f"{tier!r} cannot name a tier"
            raise errors.UnknownTierError(msg)
        return "/".join((self._root.rstrip("/"), tier, *map(str, parts)))
