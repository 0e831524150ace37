"""Draw the figures of docs/simulator.md and print the numbers that its text quotes."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import matplotlib

from benchmark.data import load_survey

from .drawing import figures, quoted_numbers, samples
from .style import STYLE, write_png


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulator_figures", description=__doc__)
    parser.add_argument("survey", type=Path, help="folder of a simulated survey with images and spectra")
    parser.add_argument("out", type=Path, help="folder for the PNG files")
    parser.add_argument("--only", nargs="+", help="names of figures; all without")
    options = parser.parse_args()
    given = os.environ.get("GALAXYBENCH_REAL_DATA")
    folder = Path(given) if given else None
    if folder is None:
        print("GALAXYBENCH_REAL_DATA is not set: figures show simulated galaxies alone")
    options.out.mkdir(parents=True, exist_ok=True)
    survey = load_survey(options.survey)
    found = samples(survey, folder)
    drawers = figures(survey, found, folder)
    if unknown := sorted(set(options.only or ()) - set(drawers)):
        parser.error(f"--only {unknown[0]}: there are {', '.join(drawers)}")
    for name, draw in drawers.items():
        if options.only is None or name in options.only:
            start = time.perf_counter()
            with matplotlib.rc_context(STYLE):
                write_png(draw(), options.out / f"{name}.png")
            print(f"{name}: {time.perf_counter() - start:.0f} s")
    print(quoted_numbers(found))


if __name__ == "__main__":
    main()
