"""Tiers, their data sets and golden utterances, and near copies between the splits. Knows no model."""

__all__ = ["dataset", "golden", "leakage", "splits", "tiers"]
