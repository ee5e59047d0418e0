"""What a Celery tutorial would build: one task a text, the same model, scikit-learn's own `predict`.

Started by the benchmark as `celery -A benchmarks.plain_app worker`, and imported by it to send the tasks.
"""

from typing import Any

from celery import Celery, signals

from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models
from pointsman_shared.settings import Settings

settings = Settings.from_env()
app = Celery(
    "plain", broker=settings.redis_url.get_secret_value(), backend=settings.redis_url.get_secret_value()
)
app.conf.update(task_default_queue="plain", worker_prefetch_multiplier=4, task_acks_late=True)
_models: dict[str, Any] = {}


@signals.worker_init.connect
def _load(**_: object) -> None:
    registry = Registry(settings.registry_url)
    champion = registry.champion("pro")
    if champion is None:
        msg = "train the pro tier first"
        raise SystemExit(msg)
    _models["pro"] = linear_models.to_pipeline(registry.load("pro", champion)[0])


@app.task(name="plain.classify")
def classify(text: str) -> str:
    """Classify one text."""
    return str(_models["pro"].predict([text])[0])
