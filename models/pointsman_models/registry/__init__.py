"""Immutable model versions, their cards, and the aliases that say which one serves. Knows no statistics."""
