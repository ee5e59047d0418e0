"""What every worker process needs: configuration, loaded models, heartbeat, shutdown. Knows no task."""
