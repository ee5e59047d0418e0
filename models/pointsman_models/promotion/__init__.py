"""Train a tier, judge the new version, and promote it or not. Knows no queue."""
