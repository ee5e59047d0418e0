"""The task that answers questions about model versions and changes which one serves."""

from typing import Any

from pointsman_shared import names
from pointsman_shared.wire import jobs
from pointsman_workers.delivery.task import LedgerTask
from pointsman_workers.delivery.wiring import Wiring
from pointsman_workers.registry.commands import Commands


def install(wiring: Wiring) -> None:
    """Give an application the registry's task."""

    @wiring.app.task(shared=False, base=LedgerTask, name=names.MODELS_TASK)
    def models(query: Any) -> list[dict[str, Any]]:  # noqa: ANN401  off the wire
        commands = Commands(
            wiring.registry(), wiring.tiers().current(), wiring.notify, wiring.sources, wiring.advisor()
        )
        return commands.answer(jobs.ModelsQuery.parse(query))
