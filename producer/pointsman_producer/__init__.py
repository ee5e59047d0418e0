"""The asking: clients, transcript files, the command line, the local launcher. Never loads a model."""

from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import Handle, MessageHandle, TaskHandle
from pointsman_producer.client.stream import TurnOutcome
from pointsman_shared.errors import PointsmanError
from pointsman_shared.wire.jobs import (
    ClassifyReply,
    ClassifyRequest,
    FlagDecision,
    Outcome,
    RankedIntent,
    User,
)

__all__ = [
    "ClassifyReply",
    "ClassifyRequest",
    "Client",
    "FlagDecision",
    "Handle",
    "MessageHandle",
    "Outcome",
    "PointsmanError",
    "RankedIntent",
    "TaskHandle",
    "TurnOutcome",
    "User",
]
