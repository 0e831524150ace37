"""The page: a results store as one self-contained HTML file that needs no network."""

from benchmark.report.page import write_page

__all__ = ["write_page"]
