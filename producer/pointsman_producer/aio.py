"""The asyncio client under its public name; see `pointsman_producer.client.async_client`."""

from pointsman_producer.client.async_client import AsyncClient

__all__ = ["AsyncClient"]
