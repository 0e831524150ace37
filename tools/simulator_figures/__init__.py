"""Figures of docs/simulator.md: the simulated survey beside what is known, and the statistics behind them.

``python -m tools.simulator_figures <survey folder> docs/figures/simulator`` draws all of them; real catalogues and
images are read below ``$GALAXYBENCH_REAL_DATA`` where that is set.
"""
