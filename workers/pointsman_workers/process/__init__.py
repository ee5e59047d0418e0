"""What every worker process needs whatever it does: configuration, heartbeat, shutdown. Knows no task."""
