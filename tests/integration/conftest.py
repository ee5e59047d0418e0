"""What most integration tests take: a real Redis, emptied, and ways to reach it.

A module with a deployment of its own overrides `settings`; the others follow.
"""

from collections.abc import Iterator

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from tests.support.webhook import Webhook


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """Settings with the URL of the emptied Redis."""
    return Settings.model_validate({"redis_url": redis_url})


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of Redis as a test uses it."""
    with Redis.from_url(settings.redis_url.get_secret_value()) as redis:
        yield redis


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """A connection to Redis as the product uses it."""
    with Store.connect(settings) as store:
        yield store


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    """A webhook that keeps what it is sent."""
    with Webhook() as hook:
        yield hook


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A client of the product."""
    with Client(settings=settings) as client:
        yield client
