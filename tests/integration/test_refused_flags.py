"""A flag configuration that no process can evaluate: people are notified of it once."""

import json
from pathlib import Path

from pointsman_shared.settings import Settings
from pointsman_workers.bootstrap import ServingParts
from tests.support.deadlines import eventually
from tests.support.webhook import Webhook

GOOD = {"f": {"proModel": {"t": 0, "v": {"b": False}}}}


def circle(key: str) -> str:
    """Write flags of which one needs itself."""
    needs = [{"c": [{"p": {"f": key, "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}}}]
    return json.dumps({"f": {**GOOD["f"], key: {"t": 0, "r": needs, "v": {"b": False}}}})


def test_a_refused_configuration_is_notified_once_each_time_by_all_processes_together(
    settings: Settings, tmp_path: Path, webhook: Webhook
) -> None:
    flags = tmp_path / "flags.json"
    flags.write_text(json.dumps(GOOD))
    here = {"flags_file": flags, "registry_url": str(tmp_path / "registry"), "notice_urls": webhook.url}
    started = [ServingParts(Settings.model_validate({**settings.model_dump(), **here})) for _ in range(2)]
    try:
        processes = [parts.process() for parts in started]

        def all_say(what: str | None) -> bool:
            problems = [process.flags.state().problem for process in processes]
            return all(what in problem if what and problem else problem is what for problem in problems)

        eventually(lambda: all_say(None), "the flags serve")
        for _ in range(2):
            flags.write_text(circle("f"))
            eventually(lambda: all_say("lead back to it"), "all processes refuse it")
            flags.write_text(json.dumps(GOOD))
            eventually(lambda: all_say(None), "the flags serve")
        for parts in started:
            parts.notify.flush()
        assert webhook.events() == ["None flags refused"] * 2
        assert webhook.notices[0]["text"].startswith(f"flags refused: {flags}: ")
    finally:
        for parts in started:
            parts.close()
