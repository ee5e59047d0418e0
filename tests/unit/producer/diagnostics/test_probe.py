"""Reading what workers and queues leave in Redis."""

from pointsman_producer.diagnostics import probe


def test_a_worker_process_is_read_as_it_describes_itself() -> None:
    report = probe.process(
        {
            b"host": b"a",
            b"pid": b"7",
            b"updated_at": b"12.5",
            b"tiers": b'{"base": 3}',
            b"flags": b'{"source": "file", "etag": null, "fetched_at": 1.0, "problem": null}',
            b"problems": b'["tier pro: gone"]',
            b"versions": b'{"python": "3.11.7"}',
        }
    )
    assert (report["host"], report["pid"], report["updated_at"]) == ("a", 7, 12.5)
    assert (report["tiers"], report["problems"]) == ({"base": 3}, ["tier pro: gone"])
    assert report["flags"]["source"] == "file"
