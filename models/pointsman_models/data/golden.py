"""Golden utterances: texts that every version that serves must answer correctly.

A row names its tiers, because the correct answer may be another one on a tier with fewer intents.
"""

from pointsman_models.data import tiers
from pointsman_shared import names
from pointsman_shared.data_files import rows, utterances


def read(tier: tiers.Tier) -> list[utterances.Utterance]:
    """Read a tier's golden utterances; none if it declares no file.

    A row without `tiers` counts for every tier.

    Raises:
        InvalidDataError: Bad rows, or an intent that the tier does not declare.
    """
    if tier.golden is None:
        return []
    name = tier.shown(tier.golden)
    problems = rows.Problems()
    found = [
        checked
        for record in rows.read(tier.golden, problems, shown_as=name)
        if _concerns(record, tier.name, name, problems)
        and (checked := utterances.check(record, name, problems)) is not None
    ]
    for row in found:
        if row.intent not in {*tier.intents, names.OUT_OF_SCOPE}:
            problems.add(row.place, f"intent {row.intent!r} is not declared for the tier {tier.name!r}")
    problems.raise_if_any()
    return found


def _concerns(record: rows.Record, tier: str, name: str, problems: rows.Problems) -> bool:
    wanted = record.fields.get("tiers")
    if wanted is None:
        return True
    if not isinstance(wanted, list):
        problems.add(f"{name}:{record.line}", "tiers is not a list of names")
        return False
    return tier in wanted
