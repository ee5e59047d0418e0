"""The Celery configuration and the Redis transport that producers and workers share. Knows no task."""

__all__ = ["app", "config", "transport"]
