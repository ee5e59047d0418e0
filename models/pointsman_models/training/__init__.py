"""Fit and evaluate one model: pipelines, search, calibration. Knows no gate and no alias."""

__all__ = ["evaluation", "train"]
