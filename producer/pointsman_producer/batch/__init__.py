"""Classify a file of transcripts and resume it after an interruption. Knows no terminal command."""
