"""Classify the texts of a message with the tier that each user's flag selects. Knows no shadow."""

__all__ = ["task"]
