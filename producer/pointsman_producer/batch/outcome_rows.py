"""Outcomes and summaries as rows of a file.

Outcomes become JSON lines directly from a reply's columns, because this runs once per text. Rows of the tabular
formats are made from these lines at the end.
"""

from collections.abc import Mapping, Sequence

import orjson

from pointsman_producer.client import stream
from pointsman_producer.client.window import Chunk
from pointsman_producer.files.tables import Kind
from pointsman_producer.files.writers import Row
from pointsman_producer.transcripts.reader import Conversation, Turn
from pointsman_shared import names
from pointsman_shared.wire import jobs

OUTCOME_COLUMNS: Mapping[str, Kind] = {
    "job_id": "text",
    "conversation_id": "text",
    "turn": "integer",
    "speaker": "text",
    "ts": "text",
    "user_id": "text",
    "text": "text",
    "intent": "text",
    "confidence": "number",
    "tier": "text",
    "model_version": "integer",
    "flag_key": "text",
    "flag_value": "text",
    "flag_variation_id": "text",
    "flag_reason": "text",
    "flag_etag": "text",
    "wait_ms": "number",
    "inference_ms": "number",
    # Last, because in CSV its width depends on the models.
    "ranking": "ranking",
}
SUMMARY_COLUMNS: Mapping[str, Kind] = {
    "conversation_id": "text",
    "user_id": "text",
    "turns": "integer",
    "intents": "texts",
    "primary_intent": "text",
    "out_of_scope_share": "number",
    "tiers": "texts",
}


def encode_outcomes(
    reply: jobs.ClassifyReply, owners: Sequence[Conversation], turns: Sequence[Turn], *, include_text: bool
) -> list[bytes]:
    """Encode a reply as one JSON line per turn, in order; raise JobFailedError if it does not fit the turns."""
    # The part after the ranking is the same for every job of a route, so it is encoded once.
    endings = [_encode_ending(route, reply.wait_ms) for route in reply.routes]
    labels = [route.intents for route in reply.routes]
    message_id, job_id, dumps = reply.message_id, names.job_id, orjson.dumps
    lines: list[bytes] = []
    with stream.fitting(reply, turns):
        columns = zip(
            owners,
            turns,
            reply.intent,
            reply.confidence,
            reply.ranking,
            reply.ranking_confidence,
            reply.route_of,
            strict=True,
        )
        for place, (owner, turn, intent, confidence, ranking, shares, route) in enumerate(columns):
            of_route = labels[route]
            row: Row = {
                "job_id": job_id(message_id, place),
                "conversation_id": owner.id,
                "turn": turn.place,
                "speaker": turn.speaker,
                "ts": turn.ts,
                "user_id": owner.user_id,
                "text": turn.text,
                "intent": intent,
                "confidence": confidence,
                "ranking": [
                    {"intent": of_route[label], "confidence": share}
                    for label, share in zip(ranking, shares, strict=True)
                ],
            }
            if not include_text:
                del row["text"]
            lines.append(dumps(row)[:-1] + endings[route])
    return lines


def are_of(chunk: Chunk, message_id: str, rows: Sequence[Row]) -> bool:
    """Tell whether rows are the outcomes of the first turns of a message."""
    return all(
        (row.get("job_id"), row.get("conversation_id"), row.get("turn"), row.get("text", turn.text))
        == (names.job_id(message_id, place), owner.id, turn.place, turn.text)
        for place, (row, owner, turn) in enumerate(zip(rows, chunk.owners, chunk.turns, strict=False))
    )


def _encode_ending(route: jobs.Route, wait_ms: float | None) -> bytes:
    """Encode the end of a row, from the comma after the ranking."""
    ending = {
        "tier": route.tier,
        "model_version": route.model_version,
        "flag": route.flag.model_dump(),
        "wait_ms": wait_ms,
        "inference_ms": route.inference_ms,
    }
    return b"," + orjson.dumps(ending, option=orjson.OPT_APPEND_NEWLINE)[1:]


def outcome_columns(*, include_text: bool) -> Mapping[str, Kind]:
    """Return the columns of a table of outcomes."""
    return {name: kind for name, kind in OUTCOME_COLUMNS.items() if include_text or name != "text"}


def flat_outcome(row: Row) -> Row:
    """Turn a journal's row, in place, into one of a table: the flag in columns, and one type in each column."""
    row |= {f"flag_{name}": value for name, value in row.pop("flag").items()}
    row["ts"], row["flag_value"] = _as_text(row["ts"]), _as_text(row["flag_value"])
    return row


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
