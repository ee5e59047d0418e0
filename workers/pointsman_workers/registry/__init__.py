"""Answer questions about model versions and change which one serves. Knows no training task."""

__all__ = ["task"]
