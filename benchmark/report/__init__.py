"""Pages: a results store, or a survey, as one self-contained HTML file that needs no network."""

from benchmark.report.page import write_page, write_survey_page

__all__ = ["write_page", "write_survey_page"]
