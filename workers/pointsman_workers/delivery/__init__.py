"""How a message is received, checked, counted and closed exactly once. Knows no feature."""

__all__ = ["channel", "consumer", "in_flight", "ledger", "reconciler", "task", "wiring"]
