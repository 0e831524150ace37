"""Expressions that a spec holds, row filters and computed columns: parsed into a tree, never executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmark.contracts import GalaxybenchError

__all__ = ["Language"]

LONGEST = 2000  # characters; deeper nesting than this allows would exhaust the parser's stack


@dataclass(frozen=True)
class Language:
    """What one kind of expression is called in messages, and what may stand in it.

    Attributes
    ----------
    key : begins every message, e.g. ``keep =``.
    allowed : ends every message.
    """

    key: str
    allowed: str

    def refusal(self, expression: str, reason: str) -> GalaxybenchError:
        """The error to raise for an expression."""
        return GalaxybenchError(f"{self.key} {expression!r}: {reason}; allowed: {self.allowed}")

    def parse(self, expression: str) -> ast.expr:
        """The tree of an expression.

        Raises
        ------
        GalaxybenchError
            If it is too long or no expression.
        """
        if len(expression) > LONGEST:
            raise self.refusal(_beginning(expression), f"{len(expression)} characters, at most {LONGEST}")
        try:
            return ast.parse(expression.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self.refusal(expression, f"it cannot be parsed ({error})") from error

    @contextmanager
    def walking(self, expression: str) -> Iterator[None]:
        """Around a walk through the tree that calls itself: a tree too deep for it is refused."""
        try:
            yield
        except RecursionError as error:
            raise self.refusal(_beginning(expression), "it is nested too deeply") from error


def _beginning(expression: str) -> str:
    return expression[:40] + "..."
