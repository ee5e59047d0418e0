"""The training application: `celery -A pointsman_workers.trainer worker -c 1`, for the queue `train`."""

from pointsman_shared.settings import Settings
from pointsman_workers import bootstrap
from pointsman_workers.process import celery_config

with celery_config.explained():
    app = bootstrap.training_app(Settings.from_env())
