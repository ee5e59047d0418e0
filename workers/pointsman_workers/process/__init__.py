"""What every worker process needs: configuration, loaded models, heartbeat, shutdown. Knows no task."""

__all__ = [
    "celery_config",
    "declared",
    "heartbeat",
    "loaded_models",
    "pauses",
    "per_process",
    "periodic",
    "refresh",
    "shutdown",
    "watched_registry",
]
