"""Scripts on a Redis that forgets them."""

from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.store.scripts import Script
from tests.support.redis_server import RedisServer

SCRIPT = Script("local key = unpack(KEYS)\nlocal by = unpack(ARGV)\nreturn redis.call('INCRBY', key, by)")


def test_a_script_is_sent_again_after_redis_has_restarted() -> None:
    with RedisServer.start() as server:
        settings = Settings.model_validate({"redis_url": server.url})
        with Store.connect_patiently(settings) as store:
            assert [SCRIPT(store, key="k", by=2) for _ in range(2)] == [2, 4]
            server.restart()
            assert [SCRIPT(store, key="k", by=3) for _ in range(2)] == [3, 6]
