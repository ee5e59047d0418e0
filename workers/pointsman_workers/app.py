"""The serving application: `celery -A pointsman_workers.app worker`.

An ordinary Celery worker for the queues `interactive`, `bulk` and `shadow`; `-Q` chooses. The champions of all tiers are
loaded before the pool forks.
"""

from pointsman_shared.settings import Settings
from pointsman_workers import bootstrap
from pointsman_workers.process import celery_config

with celery_config.explained():
    app = bootstrap.serving_app(Settings.from_env())
