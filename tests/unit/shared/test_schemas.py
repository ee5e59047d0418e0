"""The published JSON Schemas are those of the models."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from pointsman_shared.wire import jobs, shadow, shadow_report

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
PUBLISHED = {
    "classify.request": jobs.ClassifyRequest,
    "classify.reply": jobs.ClassifyReply,
    "models.query": jobs.ModelsQuery,
    "shadow.query": shadow.Query,
    "shadow.report": shadow_report.ShadowReport,
    "shadow.compare.request": shadow.CompareRequest,
    "shadow.compare.reply": shadow.Answers,
    "train.request": jobs.TrainRequest,
    "train.progress": jobs.TrainProgress,
    "train.reply": jobs.TrainReply,
}


@pytest.mark.parametrize(("name", "model"), PUBLISHED.items(), ids=PUBLISHED)
def test_a_published_schema_is_the_models_own(name: str, model: type[BaseModel]) -> None:
    assert json.loads((SCHEMAS / f"{name}.json").read_text()) == model.model_json_schema()


def test_every_published_schema_belongs_to_a_model() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(PUBLISHED)
