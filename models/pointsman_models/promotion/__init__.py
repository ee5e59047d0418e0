"""Train a tier, judge the new version, and promote it or not. Knows no queue."""

__all__ = ["advice", "decision", "gate", "judgement", "training_run"]
