"""The Celery configuration both ends share."""

import pytest

from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h/0", "redis://h/0"),
        ("rediss://:pw@h/0", "rediss://:pw@h/0?ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_ca_certs=/ca.pem", "rediss://h/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
    ],
)
def test_a_tls_servers_certificate_is_checked_unless_the_url_says_otherwise(url: str, expected: str) -> None:
    assert broker_config.verified(url) == expected


def test_only_json_is_read() -> None:
    assert broker_config.configuration(Settings())["accept_content"] == ["json"]


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_our_transport_is_called_what_it_is(scheme: str) -> None:
    settings = Settings.from_env({"POINTSMAN_REDIS_URL": f"{scheme}://anna:secret@h:7000/1"})
    with broker_config.make_app(settings) as app, app.connection() as connection:
        assert connection.as_uri() == f"{scheme}://anna:**@h:7000/1"
        assert connection.transport_cls == "pointsman_shared.broker.transport:Transport"
