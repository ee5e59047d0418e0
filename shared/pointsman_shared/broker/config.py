"""The Celery configuration both ends need, with the settings that were seen to survive faults.

`docs/reliability.md` gives the reason for each.
"""

from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu import Connection
from kombu.utils.url import parse_url

from pointsman_shared import names
from pointsman_shared.broker import transport
from pointsman_shared.settings import Settings

# A peer that went silent is noticed in this time instead of never.
SOCKET_TIMEOUT_S = 15
CONNECT_TIMEOUT_S = 5
HEALTH_CHECK_INTERVAL_S = 10
SOCKET_OPTIONS = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_keepalive": True,
    "health_check_interval": HEALTH_CHECK_INTERVAL_S,
}


def make_app(settings: Settings) -> Celery:
    """Build a Celery application that speaks Pointsman's wire: JSON only, its queues and routes."""
    app = Celery("pointsman", set_as_current=False, amqp=f"{__name__}:NamedAMQP")
    app.conf.update(configuration(settings))
    return app


class NamedConnection(Connection):
    """A connection that calls our transport what it is: Redis. Celery's banner and Flower go by that name."""

    def as_uri(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401  kombu's signature
        """Give the URL, by default without its password."""
        uri: str = super().as_uri(*args, **kwargs)
        name, _, address = uri.partition("://")
        return f"{'rediss' if self.ssl else 'redis'}://{address}" if ":" in name else uri


class NamedAMQP(AMQP):
    """Celery's way to the broker, by a connection that says what it is."""

    Connection = NamedConnection


def configuration(settings: Settings) -> dict[str, Any]:
    """Give the Celery settings that a producer and a worker share."""
    redis_url = verified(settings.redis_url.get_secret_value())
    broker_url = verified(settings.broker_url.get_secret_value()) if settings.broker_url else redis_url
    return {
        "broker_url": broker_url,
        # What the URL says of TLS, for Flower, which does not read it there.
        "broker_use_ssl": parse_url(broker_url).get("ssl", False),
        "result_backend": redis_url,
        "result_expires": settings.result_ttl_s,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_default_queue": names.INTERACTIVE_QUEUE,
        "task_routes": {
            names.CLASSIFY_TASK: {"queue": names.INTERACTIVE_QUEUE},
            names.MODELS_TASK: {"queue": names.INTERACTIVE_QUEUE},
            names.TRAIN_TASK: {"queue": names.TRAIN_QUEUE},
            names.SHADOW_TASK: {"queue": names.SHADOW_QUEUE},
            names.SHADOW_QUERY_TASK: {"queue": names.INTERACTIVE_QUEUE},
            names.SHADOW_COMPARE_TASK: {"queue": names.BULK_QUEUE},
        },
        "task_create_missing_queues": True,
        "broker_connection_retry_on_startup": True,
        "broker_transport": transport.for_url(broker_url),
        "broker_transport_options": transport_options(broker_url, settings.visibility_timeout_s),
        "redis_socket_timeout": SOCKET_TIMEOUT_S,
        "redis_socket_connect_timeout": CONNECT_TIMEOUT_S,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": HEALTH_CHECK_INTERVAL_S,
    }


def verified(url: str) -> str:
    """Have a TLS server's certificate checked unless the URL says otherwise; Celery refuses to assume either."""
    if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"


def transport_options(broker_url: str, visibility_timeout_s: int) -> dict[str, Any]:
    """Give kombu's options for the Redis transport; other brokers have their own acknowledgements."""
    if not broker_url.startswith("redis"):
        return {}
    return {
        **SOCKET_OPTIONS,
        "visibility_timeout": visibility_timeout_s,
        # Look at the queues in the order in which they are consumed: interactive first.
        "queue_order_strategy": "priority",
        # Look for what a dead worker left behind every 10 s; the default comes to every 100 s.
        "unacked_restore_throttle": 1,
    }
