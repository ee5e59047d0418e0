"""What the serving classifier answers."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax as scipy_softmax
from sklearn.linear_model import LogisticRegression

from pointsman_models.inference.classifier import Classifier, softmax
from pointsman_models.inference.linear_model import LinearModel
from pointsman_models.training import linear_models
from pointsman_shared import names
from tests.support import tiny

CLASSIFIER = tiny.make_classifier()


def test_the_softmax_is_scipys_of_the_scaled_scores() -> None:
    scores = np.array([[1.0, -2.0, 0.5], [700.0, -700.0, 0.0]])
    np.testing.assert_allclose(softmax(scores, 1.7), scipy_softmax(1.7 * scores, axis=1))


def test_a_binary_logistic_regression_gives_its_own_probabilities_at_half_temperature() -> None:
    pipeline = tiny.fitted(tiny.BASE_INTENTS[:2], classifier=LogisticRegression())
    texts = ["bye bye", "when do you open", ""]
    np.testing.assert_allclose(softmax(pipeline.decision_function(texts), 0.5), pipeline.predict_proba(texts))


def test_what_is_out_of_scope_is_never_in_the_ranking() -> None:
    assert names.OUT_OF_SCOPE not in CLASSIFIER.intents
    predictions = CLASSIFIER.classify(["my parcel is late"], ranked=5)
    assert predictions.intent == [names.OUT_OF_SCOPE]
    assert sorted(predictions.ranking[0]) == [0, 1, 2]
    assert sum(predictions.ranking_confidence[0]) < 0.5


def test_an_answer_is_the_first_of_its_ranking_where_it_is_likely_enough() -> None:
    predictions = CLASSIFIER.classify(["hello there"])
    assert predictions.intent == ["greeting"] == [CLASSIFIER.intents[predictions.ranking[0][0]]]
    assert predictions.confidence[0] == predictions.ranking_confidence[0][0] > 0.5
    assert predictions.ranking_confidence[0] == sorted(predictions.ranking_confidence[0], reverse=True)


@pytest.mark.parametrize(("threshold", "intent"), [(0.0, "greeting"), (1.1, names.OUT_OF_SCOPE)])
def test_the_threshold_decides_what_is_likely_enough(threshold: float, intent: str) -> None:
    assert tiny.make_classifier(threshold=threshold).classify(["hello there"]).intent == [intent]


def test_repeated_texts_get_the_answers_they_get_alone() -> None:
    texts = ["hi", "when do you open", "hi", "", "hi", "bye", ""]
    together = CLASSIFIER.classify(texts)
    for place, text in enumerate(texts):
        alone = CLASSIFIER.classify([text])
        assert together.intent[place] == alone.intent[0]
        assert together.ranking_confidence[place] == pytest.approx(alone.ranking_confidence[0], abs=1e-4)


def test_the_fused_form_answers_as_the_pipeline_does() -> None:
    pipeline = tiny.fitted(tiny.PRO_INTENTS)
    classifier = Classifier(
        linear_models.from_pipeline(pipeline), tier="pro", version=1, temperature=1.0, threshold=0.0
    )
    texts = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
    assert classifier.classify(texts).intent == pipeline.predict(texts).tolist()


@given(
    texts=st.lists(
        st.one_of(st.text(max_size=30), st.sampled_from(list(itertools.chain(*tiny.UTTERANCES.values())))),
        min_size=2,
        max_size=8,
        unique=True,
    ),
    place=st.integers(0, 1),
)
def test_single_precision_changes_no_answer_even_at_the_threshold(texts: list[str], place: int) -> None:
    threshold = float(CLASSIFIER.probabilities(texts).max(axis=1)[place])
    for least in (threshold, np.nextafter(threshold, 2.0)):
        classifier = tiny.make_classifier(threshold=float(least))
        quick, exact = classifier.classify(texts), classifier.classify(texts, ranked=2)
        assert quick.intent == exact.intent
        assert [ranks[0] for ranks in quick.ranking] == [ranks[0] for ranks in exact.ranking]
        assert quick.confidence == pytest.approx(exact.confidence, abs=1.1e-4)


def test_intents_that_single_precision_cannot_tell_apart_are_told_apart_in_double() -> None:
    model = linear_models.from_pipeline(tiny.fitted(tiny.BASE_INTENTS))
    for better in range(3):
        slightly = np.zeros(3)
        slightly[better] = 1e-12
        equal = LinearModel(
            classes=model.classes,
            intercept=slightly,
            blocks=tuple(
                dataclasses.replace(block, weights=np.repeat(block.weights[:, :1], 3, axis=1))
                for block in model.blocks
            ),
        )
        classifier = Classifier(equal, tier="base", version=1, temperature=1.0, threshold=0.0)
        assert classifier.classify(["hi", "bye"]).intent == [model.classes[better]] * 2
