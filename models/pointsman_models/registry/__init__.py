"""The immutable model versions, their cards, and the aliases that say which version serves. Knows no statistics."""

__all__ = ["aliases", "card", "certificate", "versions"]
