"""Claims on the training of tiers: a tier is trained by one run at a time, and a run by one delivery at a time."""

from typing import Final

from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store

# A booking holds for so long before the run's message is in the ledger, and then as long as the message is.
BOOKED_S: Final = 60.0
# A trainer that is silent for this long is dead, and another one may take over its run.
CLAIM_S: Final = 30.0
RENEWAL_S: Final = 2.0

MINE: Final = "mine"
"""The claim is the caller's."""
HELD: Final = "held"
"""Another delivery of the same run has it."""
DONE: Final = "done"
"""The run has its outcome."""
CANCELLED: Final = "cancelled"
"""The run was asked to stop."""
LOST: Final = "lost"
"""The holder was silent for too long, and another delivery has the claim."""

SCRIPT: Final = scripts.load(__file__, "training_claim")


class TrainingClaims:
    """The claims of a deployment; all methods raise `BrokerUnavailableError` if Redis is away."""

    def __init__(self, store: Store, *, claim_s: float = CLAIM_S) -> None:
        self._store = store
        self._keys = store.keys
        self._claim_s = claim_s

    @property
    def renewal_s(self) -> float:
        """How often a holder renews its claim, and how soon it hears that its run is cancelled."""
        return min(self._claim_s / 3, RENEWAL_S)

    def book(self, tier: str, run: str) -> str:
        """Book a tier for a run, and return the run that has the tier: this one, or an earlier one."""
        return self._do("book", tier, run, ttl_s=BOOKED_S) or run

    def unbook(self, tier: str, run: str) -> None:
        """Free a tier that was booked for a run which was never sent."""
        self._do("unbook", tier, run)

    def cancel(self, tier: str, who: str) -> str | None:
        """Ask a tier's run to stop, and return its id; None if there is no run."""
        return self._do("cancel", tier, "", who)

    def claim(self, tier: str, run: str, holder: str) -> str:
        """Claim a tier, and return `MINE`, `HELD`, `DONE`, or the id of another run that has the tier."""
        return self._do("claim", tier, run, holder, ttl_s=self._claim_s) or MINE

    def renew(self, tier: str, run: str, holder: str) -> str:
        """Renew a claim, and return `MINE`, `CANCELLED` or `LOST`."""
        return self._do("renew", tier, run, holder, ttl_s=self._claim_s) or LOST

    def release(self, tier: str, run: str, holder: str) -> None:
        """Free a tier, if the holder still has it."""
        self._do("release", tier, run, holder)

    def abandon(self, tier: str, run: str) -> None:
        """End the claim of a delivery whose process is gone, so that the next one need not wait for that."""
        self._do("abandon", tier, run)

    def _do(self, action: str, tier: str, run: str, holder: str = "", *, ttl_s: float = 0) -> str | None:
        answer: bytes | None = SCRIPT(
            self._store,
            claim=self._keys.training(tier),
            entry=self._keys.open(run),
            guard=self._keys.done(run),
            action=action,
            run=run,
            holder=holder,
            ttl=ttl_s,
            entries=self._keys.open(""),
            guards=self._keys.done(""),
        )
        return answer.decode() if answer is not None else None
