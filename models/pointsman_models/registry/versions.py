"""The registry: immutable versions of every tier, and which of them serves.

    <tier>/<n>/model.skops    the fitted pipeline, never a pickle
    <tier>/<n>/card.json      written last: without it there is no version
    <tier>/<n>/certificate.json  on what evidence it may serve or not
    <tier>/history/<change>.json  who made which version champion, when, why, on what evidence; never changed again
    <tier>/aliases.json       {"champion": 3, "candidate": null, "change": 7}: a copy of what the last change says

A change of who serves is a new file of the history. Only one process can create the next one, so of two promotions at
once one wins and the other is told; nothing is locked, so nobody who dies holds a lock. `aliases.json` saves readers the
listing, and tells them where to look for a later change.

It lies in a folder or under any other URL that fsspec knows. Several processes may write and read it at once.
"""

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.pipeline import Pipeline

from pointsman_models.data import tiers
from pointsman_models.inference.classifier import Classifier
from pointsman_models.registry import card as cards
from pointsman_models.registry import model_file
from pointsman_models.registry.card import Card
from pointsman_models.registry.certificate import Certificate
from pointsman_shared import errors
from pointsman_shared.wire import jobs

MODEL: Final = "model.skops"
CARD: Final = "card.json"
ALIASES: Final = "aliases.json"
CERTIFICATE: Final = "certificate.json"
HISTORY: Final = "history"
KEPT_VERSIONS: Final = 5
# fsspec's memory:// looks before it writes, in two steps; the stores of other processes take one.
_CLAIM = threading.Lock()


class Aliases(BaseModel):
    """Which versions have a part to play."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    champion: int | None = None
    """The version that serves."""
    candidate: int | None = None
    """The version that may follow it."""
    change: int = 0
    """The last change that led here."""


class HistoryEntry(BaseModel):
    """One change of an alias, or what was learnt about a promotion afterwards."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    change: int
    at: str
    who: str
    what: str
    """`champion`, `rollback`, `candidate`, or `flagged`: a promoted version could not be taken over."""
    version: int
    previous: int | None
    why: str
    evidence: dict[str, Any] = {}
    champion: int | None = None
    """Who serves after it."""
    candidate: int | None = None

    @property
    def aliases(self) -> Aliases:
        """Give the aliases after it."""
        return Aliases(champion=self.champion, candidate=self.candidate, change=self.change)


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
        found = self._noted_aliases(tier)
        # The copy may be older than the last change: its writer died, or two of them wrote in the wrong order.
        while (later := self._entry(tier, found.change + 1)) is not None:
            found = later.aliases
        return found

    def champion(self, tier: str) -> int | None:
        """Give the version that serves, if any. Cheap: it reads one small file."""
        return self.aliases(tier).champion

    def history(self, tier: str) -> list[HistoryEntry]:
        """Give all changes of the aliases, oldest first."""
        entries: list[HistoryEntry] = []
        while (entry := self._entry(tier, len(entries) + 1)) is not None:
            entries.append(entry)
        return entries

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

        Raises:
            RegistryError: The disk is full, or the place cannot be written to.
        """
        content = model_file.write(pipeline)
        version = self._claim(tier, content)
        saved = card.model_copy(
            update={"tier": tier, "version": version, "files": {MODEL: cards.digest(content)}}
        )
        self._replace(self._path(tier, version, CARD), saved.model_dump_json(indent=2).encode())
        return saved

    def certify(self, certificate: Certificate) -> None:
        """Put a version's certificate beside it."""
        path = self._path(certificate.tier, certificate.version, CERTIFICATE)
        self._replace(path, certificate.model_dump_json(indent=2).encode())

    def certificate(self, tier: str, version: int) -> Certificate | None:
        """Read a version's certificate; None if it was never judged.

        Raises:
            RegistryError: It is damaged.
        """
        path = self._path(tier, version, CERTIFICATE)
        try:
            return Certificate.model_validate_json(self._fs.cat_file(path))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            msg = f"{path} is damaged: {jobs.describe(error)}"
            raise errors.RegistryError(msg) from None

    def promote(
        self,
        tier: str,
        version: int,
        who: str,
        why: str,
        *,
        expected: Aliases | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """Make a version the champion; making an older one champion again is how one rolls back.

        Args:
            tier: The tier.
            version: The version.
            who: Who wants it.
            why: For what reason.
            expected: The aliases this was decided on; left out, the present ones.
            evidence: What speaks for it.

        Raises:
            RegistryError: There is no such version.
            ConflictError: Another version was promoted since.
        """
        self.card(tier, version)
        before = expected or self.aliases(tier)
        candidate = None if before.candidate == version else before.candidate
        self._change(
            tier,
            before,
            Aliases(champion=version, candidate=candidate),
            {"who": who, "what": "champion", "version": version, "previous": before.champion, "why": why},
            evidence,
        )

    def rollback(self, tier: str, who: str, why: str) -> int:
        """Make the champion before this one champion again.

        Returns:
            The version that serves now.

        Raises:
            RegistryError: There was none before, or it is gone.
            ConflictError: Another version was promoted at the same time.
        """
        before = self.aliases(tier)
        version = self._predecessor(tier, before)
        self.card(tier, version)
        self._change(
            tier,
            before,
            Aliases(champion=version, candidate=before.candidate),
            {"who": who, "what": "rollback", "version": version, "previous": before.champion, "why": why},
        )
        return version

    def nominate(self, tier: str, version: int, who: str, why: str) -> None:
        """Make a version the candidate.

        Raises:
            RegistryError: There is no such version.
            ConflictError: The aliases were changed at the same time.
        """
        self.card(tier, version)
        before = self.aliases(tier)
        self._change(
            tier,
            before,
            Aliases(champion=before.champion, candidate=version),
            {"who": who, "what": "candidate", "version": version, "previous": before.candidate, "why": why},
        )

    def flag(self, tier: str, version: int, who: str, why: str) -> bool:
        """Note that a promoted version could not be taken over.

        Returns:
            Whether this is news: every process of every machine notices, one of them is to tell.
        """
        before = self.aliases(tier)
        if before.champion != version or self.flagged(tier) is not None:
            return False
        change = {"who": who, "what": "flagged", "version": version, "previous": None, "why": why}
        try:
            self._change(tier, before, before, change)
        except errors.ConflictError:
            return False
        return True

    def flagged(self, tier: str) -> str | None:
        """Say why the champion could not be taken over, if that was noted since its promotion."""
        champion = self.champion(tier)
        for entry in reversed(self.history(tier)):
            if entry.what == "flagged" and entry.version == champion:
                return entry.why
            if entry.what in {"champion", "rollback"}:
                return None
        return None

    def rolled_back(self, tier: str) -> set[int]:
        """Give the versions that served, had to go back, and were not promoted again since."""
        gone: set[int] = set()
        # Those say nothing about what they learnt.
        never_served: set[int] = set()
        for entry in self.history(tier):
            if entry.what == "rollback" and entry.previous is not None:
                gone.add(entry.previous)
            elif entry.what == "flagged":
                never_served.add(entry.version)
            elif entry.what == "champion":
                gone.discard(entry.version)
        return gone - never_served

    def prune(self, tier: str, keep: int = KEPT_VERSIONS) -> list[int]:
        """Remove old versions; the newest ones, the aliases' and the one to roll back to stay.

        Returns:
            The removed versions.
        """
        kept = set(self.versions(tier)[-max(keep, 1) :]) | self._needed(tier)
        newest = max(self._numbers(tier), default=0)
        removed = [number for number in self._numbers(tier) if number not in kept and number != newest]
        for number in removed:
            # The card first: without it there is no version, whatever happens next.
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(self._path(tier, number, CARD))
            self._fs.rm(self._path(tier, number), recursive=True)
        return removed

    def _needed(self, tier: str) -> set[int]:
        aliases = self.aliases(tier)
        needed = {number for number in (aliases.champion, aliases.candidate) if number is not None}
        with contextlib.suppress(errors.RegistryError):
            needed.add(self._predecessor(tier, aliases))
        return needed

    def _predecessor(self, tier: str, aliases: Aliases) -> int:
        """Find the champion before this one: that of the last promotion which was not a way back."""
        stack: list[int] = []
        for entry in self.history(tier):
            if entry.what == "champion" and entry.champion is not None:
                stack.append(entry.champion)
            elif entry.what == "rollback" and len(stack) > 1:
                stack.pop()
        earlier = [version for version in stack[:-1] if version != aliases.champion]
        if not earlier:
            msg = f"{tier} has no earlier champion to go back to"
            raise errors.RegistryError(msg)
        return earlier[-1]

    def _change(
        self,
        tier: str,
        before: Aliases,
        after: Aliases,
        change: dict[str, Any],
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """Append a change to the history; whoever comes second is told."""
        entry = HistoryEntry(
            **change,
            change=before.change + 1,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            evidence=evidence or {},
            champion=after.champion,
            candidate=after.candidate,
        )
        try:
            self._create(self._entry_path(tier, entry.change), entry.model_dump_json().encode())
        except FileExistsError:
            winner = self._entry(tier, entry.change)
            by = f" by {winner.who}: version {winner.version} ({winner.what})" if winner else ""
            msg = f"{tier} was changed at the same time{by}; nothing was changed by you: look again"
            raise errors.ConflictError(msg) from None
        self._replace(self._path(tier, ALIASES), entry.aliases.model_dump_json().encode())

    def _noted_aliases(self, tier: str) -> Aliases:
        path = self._path(tier, ALIASES)
        try:
            return Aliases.model_validate_json(self._fs.cat_file(path))
        except FileNotFoundError:
            return Aliases()
        except ValidationError as error:
            # It is a copy; the history has the truth, if there is one.
            if self._entry(tier, 1) is not None:
                return Aliases()
            msg = f"{path} is damaged ({jobs.describe(error)}): remove it and promote a version again"
            raise errors.RegistryError(msg) from None

    def _entry(self, tier: str, change: int) -> HistoryEntry | None:
        path = self._entry_path(tier, change)
        try:
            return HistoryEntry.model_validate_json(self._fs.cat_file(path))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            msg = f"{path} is damaged: {jobs.describe(error)}"
            raise errors.RegistryError(msg) from None

    def _entry_path(self, tier: str, change: int) -> str:
        return self._path(tier, HISTORY, f"{change:08d}.json")

    def _claim(self, tier: str, content: bytes) -> int:
        """Write the model under the next free number; creating the file is what claims the number."""
        version = max(self._numbers(tier), default=0)
        while True:
            version += 1
            with _writing():
                self._fs.makedirs(self._path(tier, version), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self._create(self._path(tier, version, MODEL), content)
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
        except OSError as error:
            msg = f"the registry cannot be read: {error.strerror or type(error).__name__}"
            raise errors.RegistryError(msg) from error
        last = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(int(name) for name in last if name.isascii() and name.isdecimal())

    def _create(self, path: str, content: bytes) -> None:
        """Write a new file, whole or not at all.

        Raises:
            FileExistsError: Somebody else did.
            RegistryError: It cannot be written.
        """
        with _writing():
            if isinstance(self._fs, LocalFileSystem):
                self._create_in_folder(path, content)
                return
            with _CLAIM:
                self._fs.pipe_file(path, content, mode="create")

    def _create_in_folder(self, path: str, content: bytes) -> None:
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        with self._staged(path, content) as temporary:
            # A link is made in one step, and only where no file is.
            os.link(temporary, path)

    def _replace(self, path: str, content: bytes) -> None:
        """Write a file so that a reader sees the old or the new content, never a part."""
        with _writing():
            if not isinstance(self._fs, LocalFileSystem):
                self._fs.pipe_file(path, content)
                return
            with self._staged(path, content) as temporary:
                os.replace(temporary, path)

    @contextlib.contextmanager
    def _staged(self, path: str, content: bytes) -> Iterator[str]:
        """Write a file beside the one that is meant, which is gone afterwards, whatever happens."""
        temporary = f"{path}.{uuid.uuid4().hex}"
        try:
            self._fs.pipe_file(temporary, content)
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                os.remove(temporary)

    def _path(self, tier: str, *parts: str | int) -> str:
        # Tier names come off the wire: one must not lead out of the registry.
        if not tiers.NAME.fullmatch(tier):
            msg = f"{tier!r} cannot name a tier"
            raise errors.UnknownTierError(msg)
        return "/".join((self._root.rstrip("/"), tier, *map(str, parts)))


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        msg = f"the registry cannot be written: {error.strerror or type(error).__name__}"
        raise errors.RegistryError(msg) from error
