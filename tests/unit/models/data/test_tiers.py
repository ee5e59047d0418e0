from pathlib import Path

import pytest

from pointsman_models.data import tiers
from pointsman_shared import errors
from tests.support import tier_files

MINIMAL = '[tiers.base]\nintents = ["a", "b"]\ndatasets = ["d.jsonl"]\n'


def declare(folder: Path, content: str) -> Path:
    path = folder / tiers.FILE_NAME
    path.write_text(content, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file_that_declares_them(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    assert tier.datasets == (tmp_path / "known.jsonl",)
    assert tier.golden == tmp_path / "golden.jsonl"
    assert tier.shown(tier.datasets[0]) == "known.jsonl"


def test_a_tier_needs_only_intents_and_datasets(tmp_path: Path) -> None:
    tier = tiers.load(declare(tmp_path, MINIMAL))["base"]
    assert (tier.out_of_scope, tier.golden) == ((), None)
    assert tier.search == tiers.SearchSpace()


def test_a_tier_changes_single_lines_of_the_common_search(tmp_path: Path) -> None:
    content = MINIMAL + "[tiers.base.search]\nfolds = 4\n[search]\nfolds = 2\nrecall_floor = 0.8\n"
    search = tiers.load(declare(tmp_path, content))["base"].search
    assert (search.folds, search.recall_floor) == (4, 0.8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("tiers = ", "is not TOML"),
        ("", "tiers: is missing"),
        ('[tiers."../up"]\nintents = ["a"]\ndatasets = ["d"]', "cannot name a tier"),
        ('[tiers.base]\nintents = ["out_of_scope"]\ndatasets = ["d"]', "cannot be an intent"),
        ('[tiers.base]\nintents = ["a", "a"]\ndatasets = ["d"]', "named twice"),
        ('[tiers.base]\nintents = []\ndatasets = ["d"]', "tiers.base.intents"),
        (MINIMAL + 'colour = "red"', "tiers.base.colour"),
        (MINIMAL + "[search]\nfolds = 1", "folds"),
        (MINIMAL + '[search]\nclassifiers = [{ kind = "LinearSVC", c = [nan] }]', "is NaN or infinite"),
        (MINIMAL + "[gate]\nlatency_ms = inf", "is NaN or infinite"),
        (MINIMAL + f"more = {'[' * 5_000}", "is not TOML: it is nested too deeply"),
        (MINIMAL + f"more = {'9' * 5_000}", "or a number has too many digits"),
        (MINIMAL + f"# {'x' * tiers.MAX_CHARS}", "has more than 4,000,000 characters"),
        (
            MINIMAL + f'[search]\nclassifiers = [{{ kind = "LinearSVC", c = {[1.0] * 51} }}]',
            "should have at most 50 items",
        ),
        (f"[tiers.base]\nintents = {list(map(str, range(5_001)))}\ndatasets = ['d']", "at most 5000 items"),
        (MINIMAL + "[search]\nfeatures = [{ sublinear = true }]", "give words, characters or both"),
        (MINIMAL + "[search]\nfeatures = [{ words = [2, 1] }]", "n-gram lengths"),
        (MINIMAL + '[search]\nclassifiers = [{ kind = "LinearSVC", c = [0.0] }]', "c must be positive"),
        (MINIMAL + '[search]\nclassifiers = [{ kind = "SVC", c = [1.0] }]', "kind"),
        (
            MINIMAL + '[routing]\nflag = "f"\nvalues = { true = "pro" }\ndefault = "base"',
            "'pro' that is not declared",
        ),
        (
            MINIMAL + '[routing]\nflag = "f"\nvalues = { true = "base" }\ndefault = "pro"',
            "'pro' that is not declared",
        ),
        (MINIMAL + MINIMAL.replace("base", "pro"), r"several tiers need a table \[routing\]"),
    ],
)
def test_a_declaration_that_cannot_be_used_says_what_is_wrong(
    tmp_path: Path, content: str, said: str
) -> None:
    with pytest.raises(errors.SettingsError, match=said):
        tiers.load(declare(tmp_path, content))


def test_a_missing_declaration_says_which_setting_leads_to_it(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match="POINTSMAN_DATA_DIR"):
        tiers.load(tmp_path / "none.toml")


def test_a_flags_values_lead_to_declared_tiers(tmp_path: Path) -> None:
    routing = '[routing]\nflag = "f"\nvalues = { true = "pro", false = "base" }\ndefault = "base"\n'
    declared = tiers.declaration(declare(tmp_path, MINIMAL + MINIMAL.replace("base", "pro") + routing))
    assert declared.routing.is_boolean
    assert [declared.routing.tier(value) for value in (True, False, "true", "x")] == [
        "pro",
        "base",
        "pro",
        None,
    ]


def test_a_single_tier_needs_no_routing(tmp_path: Path) -> None:
    routing = tiers.declaration(declare(tmp_path, MINIMAL)).routing
    assert (routing.default, routing.tier(True)) == ("base", None)
