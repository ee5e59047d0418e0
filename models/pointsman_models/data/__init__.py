"""Tiers, their datasets and golden utterances, and the search for leaks between splits. Knows no model."""
