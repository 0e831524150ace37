"""Row filters such as ``cc >= 3 and mag_r < 22``: read as Python expressions, computed by a short list of rules.

Nothing is ever executed: the text is parsed and only comparisons, ``and``, ``or``, ``not``, ``in``, arithmetic, column
names, numbers and strings have a meaning.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.data.importing.expressions import Language

__all__ = ["filter_columns", "filter_rows"]

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
ALLOWED = "comparisons, and, or, not, in [...], + - * /, column names, numbers and strings"
_LANGUAGE = Language("keep =", ALLOWED)


def filter_columns(expression: str) -> tuple[str, ...]:
    """Return the names of the columns that a row filter reads, each once.

    Raises
    ------
    GalaxybenchError
        If the filter is not one of the allowed expressions.
    """
    tree = _LANGUAGE.parse(expression)
    _refuse_foreign_syntax(tree, expression)
    return tuple(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def filter_rows(expression: str, columns: Mapping[str, pd.Series], n_rows: int) -> NDArray[np.bool_]:
    """Return which rows a filter keeps.

    Parameters
    ----------
    expression : e.g. ``quality >= 3 and survey != "test"``; values are as in the file, before ``missing``.
    columns : column name -> (n_rows,) values. A missing value makes every comparison but ``!=`` false.
    n_rows : rows of the source.

    Raises
    ------
    GalaxybenchError
        If the filter is not allowed, names an unknown column, compares text with numbers or is no condition.
    """
    tree = _LANGUAGE.parse(expression)
    _refuse_foreign_syntax(tree, expression)
    with _LANGUAGE.walking(expression), np.errstate(all="ignore"):
        kept = _Filter(expression, columns).value(tree)
    if not (isinstance(kept, np.ndarray) and kept.dtype == np.bool_ and kept.shape == (n_rows,)):
        raise _LANGUAGE.refusal(expression, "it is no condition on a column; compare one with something")
    return kept


def _refuse_foreign_syntax(tree: ast.expr, expression: str) -> None:
    rules = (ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.BinOp, ast.UnaryOp, ast.Not, ast.USub, ast.Name, ast.Load)
    lists = (ast.List, ast.Tuple, ast.In, ast.NotIn)
    allowed = (*rules, *lists, ast.Constant, *COMPARISONS, *ARITHMETIC)
    for node in ast.walk(tree):
        if not isinstance(node, allowed):
            raise _LANGUAGE.refusal(expression, f"{type(node).__name__} is not allowed")
        if isinstance(node, ast.Constant) and type(node.value) not in (int, float, str, bool):
            raise _LANGUAGE.refusal(expression, f"{node.value!r} is neither number nor text")


class _Filter:
    """Values of the parts of one filter."""

    def __init__(self, expression: str, columns: Mapping[str, pd.Series]) -> None:
        self.expression, self.columns = expression, columns

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._column(node.id)
            case ast.BoolOp():
                parts = [self._condition(part) for part in node.values]
                return np.logical_and.reduce(parts) if isinstance(node.op, ast.And) else np.logical_or.reduce(parts)
            case ast.UnaryOp(op=ast.Not()):
                return np.logical_not(self._condition(node.operand))
            case ast.UnaryOp():
                return -self._number(node.operand)
            case ast.BinOp():
                return ARITHMETIC[type(node.op)](self._number(node.left), self._number(node.right))
            case ast.Compare():
                return self._comparison(node)
        raise _LANGUAGE.refusal(self.expression, f"a {type(node).__name__.lower()} stands where a value should")

    def _column(self, name: str) -> NDArray:
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, n=1)
            raise _LANGUAGE.refusal(
                self.expression, f"no column {name!r}{f' (did you mean {near[0]!r}?)' if near else ''}"
            )
        column = self.columns[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            return column.to_numpy()
        return np.array([None if pd.isna(value) else str(value) for value in column], dtype=object)

    def _condition(self, node: ast.expr) -> NDArray[np.bool_]:
        value = self.value(node)
        if getattr(value, "dtype", None) != np.bool_:
            raise _LANGUAGE.refusal(self.expression, f"{ast.unparse(node)} is no condition")
        return value

    def _number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if _kind(value) != "number" or isinstance(value, bool):
            raise _LANGUAGE.refusal(self.expression, f"{ast.unparse(node)} is no number")
        if isinstance(value, int):  # whole numbers stay exact against whole-number columns only while they fit
            return value if abs(value) < 2**63 else float(value)
        return value

    def _comparison(self, node: ast.Compare) -> NDArray[np.bool_]:
        left, result = self.value(node.left), []
        for symbol, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(symbol, ast.In | ast.NotIn):
                result.append(self._membership(left, right_node, negated=isinstance(symbol, ast.NotIn)))
                left = None
                continue
            right = self.value(right_node)
            if left is None or _kind(left) != _kind(right):
                raise _LANGUAGE.refusal(
                    self.expression, f"{ast.unparse(node)} compares {_kind(left)} with {_kind(right)}"
                )
            result.append(self._compare(symbol, left, right))
            left = right
        return np.logical_and.reduce(result)

    def _compare(self, symbol: ast.cmpop, left: Any, right: Any) -> Any:
        compare = COMPARISONS[type(symbol)]
        if _kind(left) == "text" and not isinstance(symbol, ast.Eq | ast.NotEq):
            raise _LANGUAGE.refusal(self.expression, "text can be compared with == and != only")
        return np.asarray(compare(left, right), dtype=np.bool_)

    def _membership(self, left: Any, node: ast.expr, *, negated: bool) -> NDArray[np.bool_]:
        if not isinstance(node, ast.List | ast.Tuple) or not all(isinstance(e, ast.Constant) for e in node.elts):
            raise _LANGUAGE.refusal(self.expression, "in needs a list of numbers or strings")
        values = [entry.value for entry in node.elts if isinstance(entry, ast.Constant)]
        if not values or any(_kind(value) != _kind(left) for value in values):
            raise _LANGUAGE.refusal(self.expression, f"in {ast.unparse(node)}: must hold the column's kind of values")
        hits = np.logical_or.reduce([np.asarray(left == value, dtype=np.bool_) for value in values])
        return np.logical_not(hits) if negated else hits


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "text" if value.dtype == object else "number"
    return "text" if isinstance(value, str) else "number" if isinstance(value, int | float | np.generic) else "a list"
