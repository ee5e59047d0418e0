"""The fused scorer against its oracle, the fitted scikit-learn pipeline."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from pointsman_models.inference import grams
from pointsman_models.inference.scorer import FusedScorer
from pointsman_models.inference.tokens import Preprocessor
from pointsman_models.training import linear_models
from tests.support import tiny

WORD = r"(?u)\b\w+\b"
PREPROCESSOR = Preprocessor(lowercase=True, strips_accents=False)
ODD_TEXTS = [
    "",
    "   ",
    "a",
    "HI",
    "İstanbul ẞtraße ǅ",
    "good\u2028morning\x1cteam\x85bye",
    "🙂 hi 🙂",
    "naïve café",
    "\u00a0open\u3000today",
    "x" * 5_000,
    "open " * 400,
    "hi_there under_score 24/7",
    "\ud83d",
    "\x01",
    "hi\x00there \x01 good\x01 morning",
    "ὈΔΥΣΣΕΎΣ ΣΑΣ",
]
PIPELINES = {
    "words": tiny.fitted(tiny.PRO_INTENTS, features=tiny.word_features()),
    "words, sublinear": tiny.fitted(tiny.PRO_INTENTS, features=tiny.word_features(sublinear=True)),
    "union": tiny.fitted(tiny.PRO_INTENTS, features=tiny.union_features()),
    "union, sublinear": tiny.fitted(tiny.PRO_INTENTS, features=tiny.union_features(sublinear=True)),
    "two intents": tiny.fitted(tiny.PRO_INTENTS[:2], classifier=LogisticRegression()),
    "single letters": tiny.fitted(
        tiny.BASE_INTENTS, features=TfidfVectorizer(token_pattern=WORD, ngram_range=(2, 3), use_idf=False)
    ),
}
texts = st.lists(
    st.one_of(st.text(max_size=40), st.sampled_from([*itertools.chain(*tiny.UTTERANCES.values())])),
    max_size=9,
)


def scorer_of(pipeline: Pipeline) -> FusedScorer:
    return FusedScorer(linear_models.from_pipeline(pipeline))


def assert_equal_scores(pipeline: Pipeline, fused: FusedScorer, sample: list[str]) -> None:
    if sample:
        expected = pipeline.decision_function(sample).reshape(len(sample), -1)
        np.testing.assert_allclose(fused.decision_function(sample), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", PIPELINES)
@given(sample=texts)
def test_scores_equal_those_of_the_pipeline_whatever_is_typed(name: str, sample: list[str]) -> None:
    fused = scorer_of(PIPELINES[name])
    assert_equal_scores(PIPELINES[name], fused, sample)
    for text in sample:
        assert_equal_scores(PIPELINES[name], fused, [text])


@pytest.mark.parametrize("name", PIPELINES)
def test_scores_equal_those_of_the_pipeline_for_odd_texts(name: str) -> None:
    fused = scorer_of(PIPELINES[name])
    assert_equal_scores(PIPELINES[name], fused, ODD_TEXTS)
    for text in ODD_TEXTS:
        assert_equal_scores(PIPELINES[name], fused, [text])


@pytest.mark.parametrize("name", PIPELINES)
@given(sample=texts)
def test_rough_scores_are_wrong_by_no_more_than_they_say(name: str, sample: list[str]) -> None:
    fused = scorer_of(PIPELINES[name])
    sample = [*sample, *ODD_TEXTS]
    rough, error = fused.roughly(sample)
    assert rough.dtype == np.float32
    assert np.abs(rough - fused.decision_function(sample)).max() <= error < 1e-2


@pytest.mark.parametrize("name", PIPELINES)
def test_the_pipeline_that_is_made_of_a_model_answers_as_the_fitted_one(name: str) -> None:
    pipeline = PIPELINES[name]
    again = linear_models.to_pipeline(linear_models.from_pipeline(pipeline))
    assert again.predict(ODD_TEXTS).tolist() == pipeline.predict(ODD_TEXTS).tolist()
    np.testing.assert_allclose(
        again.decision_function(ODD_TEXTS), pipeline.decision_function(ODD_TEXTS), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("sample", [ODD_TEXTS, ["hi you", "hi"], ["you you hi"]])
def test_scores_equal_those_of_a_pipeline_that_knows_no_word_pairs(sample: list[str]) -> None:
    pipeline = Pipeline(
        [("features", TfidfVectorizer(ngram_range=(1, 3))), ("classifier", LogisticRegression())]
    )
    pipeline.fit(["hi", "bye", "you"], ["a", "b", "a"])
    assert_equal_scores(pipeline, scorer_of(pipeline), sample)


def test_no_texts_give_no_scores() -> None:
    assert scorer_of(PIPELINES["union"]).decision_function([]).shape == (0, 4)


@pytest.mark.parametrize("texts_at_once", [1, 5])
def test_no_more_is_remembered_of_words_than_the_bound(
    texts_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grams, "REMEMBERED_BYTES", 20_000)
    known = grams.CharacterGrams({"wor": 0}, PREPROCESSOR, sizes=(1, 3))
    for number in range(200):
        rows, places = known.find([f"word{number} and{number}"] * texts_at_once)
        assert (rows.tolist(), places.tolist()) == ([*range(texts_at_once)], [0] * texts_at_once)
        assert known._bytes < 21_000


def test_scores_stay_right_when_the_remembered_words_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grams, "REMEMBERED_BYTES", 500)
    fused = scorer_of(PIPELINES["union"])
    for _ in range(3):
        assert_equal_scores(PIPELINES["union"], fused, ODD_TEXTS)


@pytest.mark.parametrize(
    "features",
    [
        TfidfVectorizer(analyzer="char"),
        TfidfVectorizer(norm="l1"),
        TfidfVectorizer(binary=True),
        TfidfVectorizer(stop_words="english"),
        TfidfVectorizer(token_pattern=r"[a-z]+"),
        FeatureUnion([("words", TfidfVectorizer())], transformer_weights={"words": 2.0}),
    ],
    ids=["char", "l1", "binary", "stop words", "pattern", "weighted"],
)
def test_a_pipeline_it_cannot_reproduce_is_refused(features: TfidfVectorizer | FeatureUnion) -> None:
    pipeline = tiny.fitted(tiny.BASE_INTENTS, features=features)
    with pytest.raises(ValueError, match="does not reproduce"):
        scorer_of(pipeline)
