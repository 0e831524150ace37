"""The memory of an import, measured from outside: the peak of a process that does nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest
from astropy.io import fits

GIB_KIB = 1024**2
MILLION = 1_000_000
# freed memory goes back at once: what is measured is what the import holds, not what an allocator keeps for later
ALLOCATORS = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
SPEC = """
name = "large"
missing = [-99.0]
[[source]]
path = "{name}"
id = "id"
keep = ["quality >= 1", "kind != 'STAR'"]
ra = "ra"
dec = "dec"
photometry = {{u = "mag_u", g = "mag_g", r = "mag_r", i = "mag_i", z = "mag_z"}}
photometry_error = {{u = "err_u", g = "err_g", r = "err_r", i = "err_i", z = "err_z"}}
targets = {{z = "zspec", log10_mstar = "mass"}}
"""
MEASURED = """
from benchmark.data import import_survey
survey, _ = import_survey({spec!r}, {out!r}, data_dir={data!r})
assert survey.n_galaxies > 0.6 * {n}
# not ru_maxrss, which begins with that of the process that started this one
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def catalogue(n: int) -> pd.DataFrame:
    """``n`` rows of 35 columns, of which a spec names 16."""
    rng = np.random.default_rng(0)
    table = {"id": 10**17 + rng.permutation(n), "ra": rng.uniform(0, 360, n), "dec": rng.uniform(-80, 80, n)}
    for band in "ugriz":
        table |= {f"mag_{band}": rng.normal(20, 1, n), f"err_{band}": rng.uniform(0.01, 0.1, n)}
    table |= {"zspec": rng.uniform(0, 1, n), "mass": rng.normal(10, 0.5, n), "quality": rng.integers(0, 5, n)}
    table |= {f"other_{number}": rng.normal(size=n) for number in range(18)}
    return pd.DataFrame(table).assign(kind=np.where(rng.uniform(size=n) < 0.1, "STAR", "GALAXY"))


def written(folder: Path, name: str, n: int) -> Path:
    table, path = catalogue(n), folder / name
    if name.endswith("csv"):
        pcsv.write_csv(pa.Table.from_pandas(table, preserve_index=False), path)
    elif name.endswith("fits"):
        codes = {"i": "K", "f": "D", "O": "6A"}
        columns = [fits.Column(c, codes.get(table[c].dtype.kind, "6A"), array=table[c].to_numpy()) for c in table]
        fits.BinTableHDU.from_columns(columns).writeto(path)
    else:
        table.to_parquet(path)
    (folder / "spec.toml").write_text(SPEC.format(name=name))
    return path


def peak_kib(folder: Path, n: int) -> int:
    """Peak resident size of a fresh interpreter that imports the file."""
    script = MEASURED.format(n=n, spec=str(folder / "spec.toml"), out=str(folder / "out"), data=str(folder))
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": str(root), "PATH": "", "OMP_NUM_THREADS": "1", **ALLOCATORS}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.fits"])
def test_a_million_rows_are_imported_in_less_than_a_gibibyte(tmp_path: Path, name: str) -> None:
    written(tmp_path, name, MILLION)
    assert peak_kib(tmp_path, MILLION) < GIB_KIB


def test_a_tenth_of_a_million_rows_need_a_tenth_of_that(tmp_path: Path) -> None:
    peaks = {}
    for n in (1000, MILLION // 10):
        folder = tmp_path / str(n)
        folder.mkdir()
        written(folder, "t.csv", n)
        peaks[n] = peak_kib(folder, n)
    few, many = peaks.values()
    # what the libraries take does not grow with the rows, what is above it does: 43 MiB of the 83 that are allowed
    assert many - few < (GIB_KIB - few) / 10
