"""The registry: the immutable versions of every tier, and the aliases that say which one serves.

<tier>/<n>/model.npz         the fitted model, never a pickle
<tier>/<n>/card.json         written last: a folder without it is not a version
<tier>/<n>/certificate.json  what the gate found
<tier>/aliases.json, history/  see `aliases`
"""

import contextlib
from collections.abc import Callable
from typing import Any, Final

from pointsman_models.inference.classifier import Classifier
from pointsman_models.inference.linear_model import LinearModel
from pointsman_models.registry import card as cards
from pointsman_models.registry import model_file
from pointsman_models.registry.aliases import Aliases, AliasHistory
from pointsman_models.registry.card import Card
from pointsman_models.registry.certificate import Certificate
from pointsman_models.registry.storage import Storage
from pointsman_shared import errors

MODEL: Final = "model.npz"
CARD: Final = "card.json"
CERTIFICATE: Final = "certificate.json"
KEPT_VERSIONS: Final = 5


class Registry(AliasHistory):
    """Keeps versions, finds them again, and refuses a version that is not what was saved.

    Args:
        url: A folder or an fsspec URL, such as `s3://bucket/registry`. An empty place needs no preparation.
        on_change: Called with the tier after each change of its aliases.

    Raises:
        SettingsError: The URL's protocol is unknown or its driver is not installed.
    """

    def __init__(self, url: str, on_change: Callable[[str], object] = lambda _: None) -> None:
        super().__init__(Storage(url), on_change)

    def versions(self, tier: str) -> list[int]:
        """List a tier's complete versions, oldest first."""
        return [
            number
            for number in self._storage.numbers(tier)
            if self._storage.exists(self._path(tier, number, CARD))
        ]

    def card(self, tier: str, version: int) -> Card:
        """Read a version's card.

        Raises:
            RegistryError: There is no such version, or its card is damaged or belongs to another version.
        """
        path = self._path(tier, version, CARD)
        found = self._storage.read_model(path, Card)
        if found is None:
            msg = f"{tier} has no version {version}; it has {self.versions(tier) or 'none: train it'}"
            raise errors.RegistryError(msg)
        if (found.tier, found.version) != (tier, version):
            msg = f"{path} is the card of {found.tier} {found.version}: the folder was copied or renamed"
            raise errors.RegistryError(msg)
        return found

    def load(self, tier: str, version: int) -> tuple[LinearModel, Card]:
        """Load a version's model.

        Raises:
            RegistryError: The version is absent, incomplete, not what was saved, or of unknown content. The message
                says which, and what to do.
        """
        card = self.card(tier, version)
        try:
            model = model_file.read(self._verified(card), classes=card.classes)
        except errors.RegistryError as error:
            msg = f"{tier} {version}: {error}"
            raise errors.RegistryError(msg) from error
        return model, card

    def load_classifier(self, tier: str, version: int) -> Classifier:
        """Load a version in its serving form and repeat its self-test.

        Raises:
            RegistryError: As `load`, or an answer of the self-test differs.
        """
        model, card = self.load(tier, version)
        try:
            classifier = Classifier(
                model,
                tier=tier,
                version=version,
                temperature=card.temperature,
                threshold=card.threshold,
            )
            cards.check_self_test(card, classifier)
        except errors.RegistryError as error:
            msg = f"{tier} {version}: {error}"
            raise errors.RegistryError(msg) from error
        return classifier

    def save(self, tier: str, model: LinearModel, card: Card) -> Card:
        """Keep a model as the tier's next version.

        No number is used twice, even if a save was interrupted.

        Returns:
            The card as saved, with the version's number and the digests of its files.

        Raises:
            RegistryError: The place cannot be written to.
            UnavailableError: It cannot be written now, as when the disk is full.
        """
        content = model_file.write(model)
        version = self._claim(tier, content)
        saved = card.model_copy(
            update={"tier": tier, "version": version, "files": {MODEL: cards.digest(content)}}
        )
        self._storage.replace_model(self._path(tier, version, CARD), saved)
        return saved

    def certify(self, certificate: Certificate) -> None:
        """Write a version's certificate beside it."""
        self._storage.replace_model(
            self._path(certificate.tier, certificate.version, CERTIFICATE), certificate
        )

    def certificate(self, tier: str, version: int) -> Certificate | None:
        """Read a version's certificate; None if the gate never judged the version.

        Raises:
            RegistryError: It is damaged.
        """
        return self._storage.read_model(self._path(tier, version, CERTIFICATE), Certificate)

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
        """Make a version the champion.

        Args:
            tier: The tier.
            version: The version.
            who: Who asked for it.
            why: The reason.
            expected: The aliases that the decision rests on; by default the present ones.
            evidence: What supports the promotion.

        Raises:
            RegistryError: There is no such version.
            ConflictError: The aliases have changed since.
        """
        self.card(tier, version)
        before = expected or self.aliases(tier)
        candidate = None if before.candidate == version else before.candidate
        after = Aliases(champion=version, candidate=candidate)
        self.change(tier, before, after, what="champion", who=who, why=why, evidence=evidence)

    def rollback(self, tier: str, who: str, why: str) -> int:
        """Make the champion before the present one the champion again.

        Returns:
            The version that serves now.

        Raises:
            RegistryError: There was none before, or it was removed.
            ConflictError: Another process changed the aliases at the same time.
        """
        before = self.aliases(tier)
        version = self.predecessor(tier, before)
        self.card(tier, version)
        after = Aliases(champion=version, candidate=before.candidate)
        return self.change(tier, before, after, what="rollback", who=who, why=why)

    def nominate(self, tier: str, version: int, who: str, why: str) -> None:
        """Make a version the candidate.

        Raises:
            RegistryError: There is no such version.
            ConflictError: Another process changed the aliases at the same time.
        """
        self.card(tier, version)
        before = self.aliases(tier)
        after = Aliases(champion=before.champion, candidate=version)
        self.change(tier, before, after, what="candidate", who=who, why=why)

    def prune(self, tier: str, keep: int = KEPT_VERSIONS) -> list[int]:
        """Remove old versions; the newest, the aliases' and the one to roll back to stay.

        Returns:
            The removed versions.
        """
        kept = set(self.versions(tier)[-max(keep, 1) :]) | self._needed(tier)
        *earlier, _newest = self._storage.numbers(tier) or [0]
        removed = [number for number in earlier if number not in kept]
        for number in removed:
            # The card is removed first: a folder without it is not a version, even if the rest fails.
            self._storage.remove(self._path(tier, number, CARD))
            self._storage.remove_folder(self._path(tier, number))
        return removed

    def _needed(self, tier: str) -> set[int]:
        aliases = self.aliases(tier)
        needed = {number for number in (aliases.champion, aliases.candidate) if number is not None}
        with contextlib.suppress(errors.RegistryError):
            needed.add(self.predecessor(tier, aliases))
        return needed

    def _claim(self, tier: str, content: bytes) -> int:
        """Write the model under the next free number; the process that creates the file owns the number."""
        version = max(self._storage.numbers(tier), default=0)
        while True:
            version += 1
            self._storage.make_folder(self._path(tier, version))
            with contextlib.suppress(FileExistsError):
                self._storage.create(self._path(tier, version, MODEL), content)
                return version

    def _verified(self, card: Card) -> bytes:
        try:
            content = self._storage.read(self._path(card.tier, card.version, MODEL))
        except FileNotFoundError:
            msg = f"{MODEL} is missing (releases up to 0.1 kept another file): train the tier again or promote another version"
            raise errors.RegistryError(msg) from None
        cards.check_digest(content, MODEL, card.files.get(MODEL))
        return content

    def _path(self, tier: str, version: int, name: str = "") -> str:
        return self._storage.path(tier, version, *([name] if name else []))
