"""The Celery configuration that producers and workers share.

`docs/reliability.md` gives the reason for each setting.
"""

from typing import Any, Final

from celery import Celery
from celery.app.amqp import AMQP
from kombu import Connection
from kombu.utils.url import parse_url

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import SOCKET_OPTIONS
from pointsman_shared.store.keys import Keys

TRANSPORT: Final = "pointsman_shared.broker.transport:Transport"


def make_app(settings: Settings, kind: type[Celery] = Celery) -> Celery:
    """Build a Celery application that speaks Pointsman's wire: JSON only, its queues and routes."""
    app = kind("pointsman", set_as_current=False, amqp=f"{__name__}:NamedAMQP")
    app.conf.update(configuration(settings))
    return app


class NamedConnection(Connection):
    """A connection that shows our transport as Redis, in Celery's banner and in Flower."""

    def as_uri(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401  kombu's signature
        """Return the URL, by default without its password."""
        uri: str = super().as_uri(*args, **kwargs)
        name, _, address = uri.partition("://")
        return f"{'rediss' if self.ssl else 'redis'}://{address}" if ":" in name else uri


class NamedAMQP(AMQP):
    """Celery's access to the broker, by a connection that shows its real name."""

    Connection = NamedConnection


def configuration(settings: Settings) -> dict[str, Any]:
    """Return the Celery settings that a producer and a worker share."""
    url, keys = verified(settings.redis_url.get_secret_value()), Keys(settings.namespace)
    interactive, bulk = map(keys.queue, names.SERVING_QUEUES)
    return {
        "broker_url": url,
        # Flower does not read from the URL that it is TLS.
        "broker_use_ssl": parse_url(url).get("ssl", False),
        "result_backend": url,
        "result_backend_transport_options": {"global_keyprefix": keys.prefix},
        "result_expires": settings.result_ttl_s,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_default_queue": interactive,
        "task_routes": {
            names.CLASSIFY_TASK: {"queue": interactive},
            names.MODELS_TASK: {"queue": interactive},
            names.TRAIN_TASK: {"queue": keys.queue(names.TRAIN_QUEUE)},
            names.SHADOW_TASK: {"queue": keys.queue(names.SHADOW_QUEUE)},
            names.SHADOW_QUERY_TASK: {"queue": interactive},
            names.SHADOW_COMPARE_TASK: {"queue": bulk},
        },
        "task_create_missing_queues": True,
        "broker_connection_retry_on_startup": True,
        "broker_transport": TRANSPORT,
        "broker_transport_options": {
            **SOCKET_OPTIONS,
            "namespace": settings.namespace,
            **unacked_options(keys.unacked, settings.visibility_timeout_s),
            # Read the queues in the order in which they are consumed: interactive first.
            "queue_order_strategy": "priority",
            # Look every 10 s for messages that a dead worker left behind; the default comes to every 100 s.
            "unacked_restore_throttle": 1,
        },
        # Workers are asked, and tell what they do, on channels of these names.
        "control_exchange": keys.queue("control"),
        "event_exchange": keys.queue(names.EVENTS),
        "event_queue_prefix": keys.queue(names.EVENTS),
        "redis_socket_timeout": SOCKET_OPTIONS["socket_timeout"],
        "redis_socket_connect_timeout": SOCKET_OPTIONS["socket_connect_timeout"],
        "redis_socket_keepalive": SOCKET_OPTIONS["socket_keepalive"],
        "redis_backend_health_check_interval": SOCKET_OPTIONS["health_check_interval"],
    }


def verified(url: str) -> str:
    """Have a TLS server's certificate checked unless the URL decides it; Celery has no default."""
    if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"


def unacked_options(key: str, visibility_timeout_s: int) -> dict[str, Any]:
    """Return kombu's options for where taken messages are noted, and when they are delivered again."""
    return {
        "unacked_key": key,
        "unacked_index_key": f"{key}_index",
        "unacked_mutex_key": f"{key}_mutex",
        "visibility_timeout": visibility_timeout_s,
    }
