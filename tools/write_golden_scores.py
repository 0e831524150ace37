"""Write tests/golden/scores.json anew: `python tools/write_golden_scores.py`, after a change that is meant."""

import json
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "regression"))
from golden_scores import GOLDEN, scored

if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = scored(Path(folder))
    GOLDEN.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"wrote {len(rows)} scores to {GOLDEN}")
