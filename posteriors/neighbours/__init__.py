"""Nearest neighbours: the exact search for all targets at once, and a graph for very large samples."""
