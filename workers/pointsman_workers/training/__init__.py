"""Run trainings on request and on schedule, and notify people. Knows no serving and no shadow."""

__all__ = ["notifications", "schedule", "task"]
