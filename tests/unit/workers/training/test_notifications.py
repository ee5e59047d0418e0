"""Notices, against a webhook on this machine."""

import pytest

from pointsman_workers.training.notifications import Notifications
from tests.support import webhook


def test_a_notice_says_what_happened_to_people_and_to_programs() -> None:
    with webhook.Webhook() as hook:
        notices = Notifications([hook.url])
        notices.notify("rejected", "base", 4, "macro-F1 0.8", reasons=["macro-F1 0.8"])
        notices.flush()
    assert hook.notices == [
        {
            "event": "rejected",
            "tier": "base",
            "version": 4,
            "text": "base 4 rejected: macro-F1 0.8",
            "reasons": ["macro-F1 0.8"],
        }
    ]


# Apprise's own.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notice_goes_to_the_services_that_apprise_knows() -> None:
    with webhook.Webhook(status=200) as hook:
        notices = Notifications([hook.url.replace("http://", "json://")])
        notices.notify("trained", "base", 4, "fine")
        notices.flush()
    assert [(notice["title"], notice["message"]) for notice in hook.notices] == [
        ("Pointsman", "base 4 trained: fine")
    ]


def test_a_notice_that_cannot_be_delivered_is_a_line_in_the_log_without_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with webhook.Webhook(status=500) as hook:
        places = [hook.url, "http://127.0.0.1:1/secret", "http://[secret"]
        notices = Notifications(places)
        notices.notify("trained", "base", 4, "fine")
        notices.flush()
    assert len(caplog.records) == 3
    assert "secret" not in caplog.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_address_that_apprise_does_not_know_is_a_line_in_the_log_without_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notices = Notifications(["nosuchchat://secret"])
    notices.notify("trained", "base", 4, "fine")
    notices.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "a notification (trained) cannot be delivered: OSError"
    ]


def test_all_receivers_are_notified_even_if_one_cannot_be_reached() -> None:
    with webhook.Webhook() as hook:
        notices = Notifications(["http://127.0.0.1:1/", hook.url])
        notices.notify("failed", "base", None, "no data")
        notices.flush()
    assert hook.notices[0]["text"] == "base failed: no data"
