"""The application for Celery's own commands that ask workers, as `inspect`; it knows no task, so it loads quickly."""

from pointsman_shared.broker import config
from pointsman_shared.settings import Settings

app = config.make_app(Settings.from_env())
