"""Tasks: each names the targets it scores, the artefact it reads and its metrics, and fits nothing."""
