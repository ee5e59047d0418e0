"""The training application: `celery -A pointsman_workers.trainer worker -c 1`, for the queue `train`."""

from pointsman_workers import celery_settings, composition, tasks

app = celery_settings.make_training_app(composition.settings())
tasks.register_training(app)
