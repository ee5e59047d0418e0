"""Which versions of a tier have a role, and the history of that. Knows no model and no card.

    <tier>/history/<change>.json  who changed which alias, when, why, on what evidence; never written again
    <tier>/aliases.json           {"champion": 3, "candidate": null, "change": 7}: a copy of the last change

Each change of an alias is a new file of the history. Only one process can create the next file, so of two changes at
once one is made and the other raises `ConflictError`. There is no lock, so no dead process can hold one. `aliases.json`
saves a reader the listing of the history and tells it where to look for a later change.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from pointsman_models.registry.storage import Storage
from pointsman_shared import errors

ALIASES: Final = "aliases.json"
HISTORY: Final = "history"
Change = Literal["champion", "rollback", "candidate"]


class Aliases(BaseModel):
    """The versions that have a role."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    champion: int | None = None
    """The version that serves."""
    candidate: int | None = None
    """The version that may follow it."""
    change: int = 0
    """The number of the last change."""


class HistoryEntry(BaseModel):
    """One change of an alias."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    change: int
    at: str
    who: str
    what: str
    """`champion`, `rollback` or `candidate`."""
    version: int
    previous: int | None
    why: str
    evidence: dict[str, Any] = {}
    champion: int | None = None
    """The champion after the change."""
    candidate: int | None = None

    @property
    def aliases(self) -> Aliases:
        """Return the aliases after the change."""
        return Aliases(champion=self.champion, candidate=self.candidate, change=self.change)


class AliasHistory:
    """Reads and changes the aliases of all tiers."""

    def __init__(self, storage: Storage, on_change: Callable[[str], object] = lambda _: None) -> None:
        self._storage = storage
        self._on_change = on_change
        self._read: dict[str, list[HistoryEntry]] = {}

    def aliases(self, tier: str) -> Aliases:
        """Return a tier's aliases; none are set for a tier that was never trained.

        Raises:
            RegistryError: The file is damaged.
        """
        found = self._copy(tier)
        # The copy may be older than the last change: its writer died, or two processes wrote in the wrong order.
        while (later := self._entry(tier, found.change + 1)) is not None:
            found = later.aliases
        return found

    def champion(self, tier: str) -> int | None:
        """Return the version that serves, if any."""
        return self.aliases(tier).champion

    def history(self, tier: str) -> list[HistoryEntry]:
        """Return all changes of the aliases, oldest first."""
        entries = list(self._read.get(tier, ()))
        # An entry is never written again. The last one shows whether this still is the registry that was read before.
        if entries and self._entry(tier, len(entries)) != entries[-1]:
            entries.clear()
        while (entry := self._entry(tier, len(entries) + 1)) is not None:
            entries.append(entry)
        self._read[tier] = entries
        return list(entries)

    def rolled_back(self, tier: str) -> set[int]:
        """Return the versions that served, were rolled back, and were not promoted again since."""
        gone: set[int] = set()
        for entry in self.history(tier):
            if entry.what == "rollback" and entry.previous is not None:
                gone.add(entry.previous)
            elif entry.what == "champion":
                gone.discard(entry.version)
        return gone

    def predecessor(self, tier: str, aliases: Aliases) -> int:
        """Find the champion before the present one, as the last promotion that was not a rollback left it.

        Raises:
            RegistryError: There was none.
        """
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

    def change(
        self,
        tier: str,
        before: Aliases,
        after: Aliases,
        *,
        what: Change,
        who: str,
        why: str,
        evidence: dict[str, Any] | None = None,
    ) -> int:
        """Append a change to the history.

        Args:
            tier: The tier.
            before: The aliases that the change was decided on.
            after: The aliases that it leads to.
            what: The kind of change.
            who: Who asked for the change.
            why: The reason.
            evidence: What supports it.

        Returns:
            The version that has the role now.

        Raises:
            ConflictError: Another process changed the aliases since `before` was read.
        """
        role = "candidate" if what == "candidate" else "champion"
        entry = HistoryEntry(
            change=before.change + 1,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            who=who,
            what=what,
            version=getattr(after, role),
            previous=getattr(before, role),
            why=why,
            evidence=evidence or {},
            champion=after.champion,
            candidate=after.candidate,
        )
        try:
            self._storage.create(self._entry_path(tier, entry.change), entry.model_dump_json().encode())
        except FileExistsError:
            winner = self._entry(tier, entry.change)
            by = f" by {winner.who}: version {winner.version} ({winner.what})" if winner else ""
            msg = f"{tier} was changed at the same time{by}; your change was not made: look again"
            raise errors.ConflictError(msg) from None
        self._storage.replace_model(self._storage.path(tier, ALIASES), entry.aliases)
        self._on_change(tier)
        return entry.version

    def _copy(self, tier: str) -> Aliases:
        try:
            found = self._storage.read_model(self._storage.path(tier, ALIASES), Aliases)
        except errors.RegistryError as error:
            # The history holds the same, if there is one.
            if self._entry(tier, 1) is None:
                msg = f"{error}: remove it and promote a version again"
                raise errors.RegistryError(msg) from None
            found = None
        return found or Aliases()

    def _entry(self, tier: str, change: int) -> HistoryEntry | None:
        try:
            return self._storage.read_model(self._entry_path(tier, change), HistoryEntry)
        except errors.RegistryError as error:
            msg = f"{error}: restore it from a backup"
            raise errors.RegistryError(msg) from None

    def _entry_path(self, tier: str, change: int) -> str:
        return self._storage.path(tier, HISTORY, f"{change:08d}.json")
