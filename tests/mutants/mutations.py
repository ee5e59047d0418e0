"""Small mistakes that one can make in a Python file: each changes one comparison, operator, constant or return."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One mistake in one file."""

    path: Path
    line: int
    before: str
    after: str
    source: str
    """The whole file with the mistake."""

    @property
    def what(self) -> str:
        """The mistake in one line."""
        return f"{self.path}:{self.line}: {self.before}  ->  {self.after}"


def count(source: str) -> int:
    """Count the mutants of a file."""
    return len(_sites(ast.parse(source)))


def make(path: Path, source: str, number: int) -> Mutant:
    """Make one of the mutants of a file; they are numbered in the order of its text."""
    tree = ast.parse(source)
    node, variant = _sites(tree)[number]
    before, after, line = _short(node), _short(variant), node.lineno
    _replace(tree, node, variant)
    mutated = ast.unparse(ast.fix_missing_locations(tree))
    return Mutant(path=path, line=line, before=before, after=after, source=mutated)


def _sites(tree: ast.Module) -> list[tuple[ast.expr | ast.Return, ast.expr | ast.Return]]:
    return [(node, variant) for node in _nodes(tree) for variant in _variants(node)]


def _nodes(tree: ast.Module) -> list[ast.expr | ast.Return]:
    found: list[ast.expr | ast.Return] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.expr | ast.Return):
            found.append(node)
        for name, child in ast.iter_fields(node):
            # Annotations do nothing while the program runs; a decorator's arguments are configuration.
            if name not in {"annotation", "returns", "decorator_list"}:
                for each in child if isinstance(child, list) else [child]:
                    if isinstance(each, ast.AST):
                        visit(each)

    visit(tree)
    return found


def _variants(node: ast.expr | ast.Return) -> Iterator[ast.expr | ast.Return]:
    match node:
        case ast.Compare(ops=[operator, *_]) if type(operator) in _COMPARISONS:
            changed = copy.deepcopy(node)
            changed.ops[0] = _COMPARISONS[type(operator)]()
            yield changed
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS and not _is_text(node):
            yield ast.BinOp(left=node.left, op=_OPERATORS[type(operator)](), right=node.right)
        case ast.BoolOp(op=operator):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield ast.BoolOp(op=other, values=node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value=value + 1)
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield ast.Return(value=ast.Constant(value=None))


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr | ast.Constant) and not _is_number(side) for side in sides)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, child in ast.iter_fields(parent):
            if child is old:
                setattr(parent, name, new)
                return
            if isinstance(child, list) and any(each is old for each in child):
                setattr(parent, name, [new if each is old else each for each in child])
                return


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}..."
