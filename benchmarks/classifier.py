"""What a text costs in one process: the whole answer against scikit-learn's label, on texts of which none repeats.

The models are fitted on CLINC150, with its out-of-scope texts as a class. The texts are made of its utterances: one word
of each is replaced, and it is cut or filled to nine words. Figures are of processor time.
"""

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from benchmarks import corpus
from pointsman_models.data import tiers
from pointsman_models.inference.classifier import Classifier
from pointsman_models.training import linear_models, pipelines
from pointsman_shared import names

CLINC = corpus.CLINC / "train_val.jsonl"
INTENTS = (150, 4)
TEXTS, WORDS = 10_000, 9
MESSAGES = (2_000, 500, 100)
ONE_BY_ONE = 500
ROUNDS = 5
FEATURES = {
    "words": tiers.FeatureOptions(words=(1, 2)),
    "words and characters": tiers.FeatureOptions(words=(1, 2), characters=(2, 4), sublinear=True),
}
PREDICT = "Pipeline.predict, labels"


def run(_: Path) -> None:
    """Print the table."""
    print("\nOne process, texts all distinct: texts a second of processor time, and against Pipeline.predict")
    if not CLINC.exists():
        print(f"  skipped: {CLINC} is not there")
        return
    rows = [json.loads(line) for line in CLINC.read_text(encoding="utf-8").splitlines()]
    texts = distinct([row["text"] for row in rows])
    for count in INTENTS:
        labelled = list(of_intents(rows, count))
        for kind, options in FEATURES.items():
            features = pipelines.make_features(options)
            pipeline = Pipeline([("features", features), ("classifier", LinearSVC())])
            pipeline.fit(*zip(*labelled, strict=True))
            _show(f"{count} intents, {kind}", pipeline, texts)


def of_intents(rows: list[dict[str, str]], count: int) -> Iterator[tuple[str, str]]:
    """Return the texts and labels of the first intents, and of what is out of scope."""
    outside = {"oos", names.OUT_OF_SCOPE}
    chosen = sorted({row["intent"] for row in rows} - outside)[:count]
    for row in rows:
        if row["intent"] in chosen:
            yield row["text"], row["intent"]
        elif row["intent"] in outside:
            yield row["text"], names.OUT_OF_SCOPE


def distinct(utterances: list[str], count: int = TEXTS) -> list[str]:
    """Return texts of which no two are equal."""
    chance = random.Random(1)
    words = [word for utterance in utterances for word in utterance.split()]
    made: dict[str, None] = {}
    while len(made) < count:
        text = chance.choice(utterances).split()
        text[chance.randrange(len(text))] = chance.choice(words)
        made[" ".join((text + chance.choices(words, k=WORDS))[:WORDS])] = None
    return list(made)


def _show(title: str, pipeline: Pipeline, texts: list[str]) -> None:
    classifier = Classifier(
        linear_models.from_pipeline(pipeline), tier="any", version=1, temperature=2.0, threshold=0.3
    )
    print(f"  {title}")
    for size in MESSAGES:
        messages = [texts[start : start + size] for start in range(0, len(texts), size)]
        _compare(f"messages of {size:,}", pipeline, classifier, messages)
    _compare("one text at a time", pipeline, classifier, [[text] for text in texts[:ONE_BY_ONE]])


def _compare(title: str, pipeline: Pipeline, classifier: Classifier, messages: list[list[str]]) -> None:
    contestants: dict[str, Callable[[list[str]], object]] = {
        PREDICT: pipeline.predict,
        "Classifier.classify, one intent": lambda message: classifier.classify(message, ranked=1),
        "Classifier.classify, five intents": lambda message: classifier.classify(message, ranked=5),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, contestant in contestants.items():
            began = time.process_time()
            for message in messages:
                contestant(message)
            seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    count = sum(map(len, messages))
    for name, took in medians.items():
        print(
            f"    {title:<20}{name:<36}{count / took:>10,.0f}/s {medians[PREDICT] / took:>6.2f}"
            f" {1e6 * took / count:>9.1f} us a text"
        )
