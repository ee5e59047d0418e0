"""What both sides read and write in Redis: the connection, the keys, shared scripts. Knows no Celery."""
