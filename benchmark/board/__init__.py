"""The leaderboard: rows made from the records of a results store, and the shapes in which they are printed."""

from benchmark.board.aggregate import ROW_FIELDS, leaderboard
from benchmark.board.render import FORMATS, render

__all__ = ["FORMATS", "ROW_FIELDS", "leaderboard", "render"]
