"""The client: submit jobs and read outcomes. Must not know models, files that people write, or the command line."""

__all__ = ["async_client", "client", "handles", "registry", "single_try", "stream", "window"]
