"""Words for the errors of pydantic's row models: short, and without quoting the row, which may hold customers' words."""

from typing import Any, Final

from pydantic import ValidationError

_WORDS: Final = {
    "missing": "is missing",
    "string_type": "is not a string",
    "string_too_short": "is empty",
    "string_unicode": "is not valid Unicode (half of a surrogate pair)",
    "list_type": "is not a list",
    "model_type": "is not a JSON object",
}


def describe(error: ValidationError) -> list[str]:
    """Describe each error as `FIELD is ...`, or as `turn N: FIELD is ...` for a field of a list's element."""
    return [f"{_place(one['loc'])}{_words(one)}" for one in error.errors(include_url=False)]


def _place(path: tuple[int | str, ...]) -> str:
    match path:
        case (str(name), int(index), *rest):
            return f"{name.removesuffix('s')} {index}: {_place(tuple(rest))}"
        case (str(name), *_):
            return f"{name} "
        case _:
            return ""


def _words(error: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    kind, value = error["type"], error["input"]
    if kind == "string_too_long":
        return f"has {len(value)} characters; at most {error['ctx']['max_length']} are allowed"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "string_type" and value is None:
        return _WORDS["missing"]
    return _WORDS.get(kind) or str(error["msg"])
