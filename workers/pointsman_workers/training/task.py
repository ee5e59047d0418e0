"""The training task: decode, call, encode."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from celery import Task

from pointsman_models.data.dataset import Source
from pointsman_shared import errors, names
from pointsman_shared.store.connection import Store
from pointsman_shared.store.labels import Labels
from pointsman_shared.store.training_claims import TrainingClaims
from pointsman_shared.wire import jobs
from pointsman_workers.delivery.task import LedgerTask, WorkerApp
from pointsman_workers.delivery.wiring import Wiring
from pointsman_workers.process.per_process import PerProcess
from pointsman_workers.training import claim
from pointsman_workers.training.sources import Annotations, LabelledJobs

logger = logging.getLogger(__name__)


def install(wiring: Wiring) -> None:
    """Give an application the training task."""
    claims = PerProcess(lambda: TrainingClaims(Store.connect(wiring.settings)))
    sources = wiring.sources = _sources(wiring)

    class TrainTask(LedgerTask):
        abstract = True

        def when_lost(self, message_id: str, payload: object) -> None:
            # If Redis is away, the claim ends by itself.
            with contextlib.suppress(errors.PointsmanError):
                claims().abandon(jobs.TrainRequest.parse(payload).tier, message_id)

    @wiring.app.task(shared=False, bind=True, base=TrainTask, name=names.TRAIN_TASK)
    def train(task: Task, request: Any) -> dict[str, Any]:  # type: ignore[type-arg]  # noqa: ANN401  off the wire
        from pointsman_workers.training.run import Trainer  # noqa: PLC0415  scikit-learn comes with the first training

        wanted = jobs.TrainRequest.parse(request)
        trainer = Trainer(
            wiring.registry(), wiring.tiers().current(), wiring.notify, sources, wiring.advisor()
        )
        trainer.require(wanted.tier)
        # The claim ends after the outcome is stored, so that a second delivery finds the one or the other.
        held = claim.held(claims(), wanted.tier, str(task.request.id))
        check = task.request.after.enter_context(held)  # type: ignore[attr-defined]  # `LedgerTask` sets it
        return trainer.train(wanted, _reporter(wiring.app, task), check).model_dump()


def _reporter(app: WorkerApp, task: Task) -> Callable[[jobs.TrainProgress], None]:  # type: ignore[type-arg]
    def report(progress: jobs.TrainProgress) -> None:
        try:
            app.ledger().report(str(task.request.id), progress.model_dump())
            # Flower shows the state and the result of the last event.
            task.send_event("task-progress", result=f"{progress.stage} {progress.fraction:.0%}")
        except Exception as error:  # any error of broker or backend: the run goes on, without a report
            logger.warning("a training's progress cannot be reported: %s", type(error).__name__)

    return report


def _sources(wiring: Wiring) -> Callable[[str], list[Source]]:
    annotations = wiring.settings.annotations
    place = annotations.get_secret_value().strip() if annotations else ""

    def read(tier: str) -> list[Source]:
        found = [
            LabelledJobs(Labels(wiring.store(), wiring.settings)).rows(tier),
            Annotations(place).rows(tier) if place else None,
        ]
        return [source for source in found if source is not None]

    return read
