"""Building: any number of workers, interrupted or not, gives one and the same survey."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.contracts import GalaxybenchError, UsageError
from benchmark.data import Survey, check_survey
from benchmark.simulator import build_survey, building
from benchmark.simulator.candidates import draw_candidates
from benchmark.simulator.flavours import SOUTH
from benchmark.simulator.images import render_images
from benchmark.simulator.pack import load_pack
from benchmark.simulator.spectra import simulate_spectra

N = 150  # two parts, the second one cut


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return build_survey(tmp_path_factory.mktemp("built") / "sim", N, seed=4)


def test_a_survey_holds_every_modality_and_passes_its_checks(built: Survey) -> None:
    assert built.modalities == ("photometry", "image", "spectrum")
    assert built.images is not None
    assert built.images.shape == (N, 3, 152, 152)
    assert built.images.dtype == np.float16
    assert built.spectra is not None
    assert built.spectra.shape == (N, 7781)
    assert len(built.info.votes) == 10
    assert [finding for finding in check_survey(built) if finding.level == "error"] == []
    assert list(built.folder.parent.iterdir()) == [built.folder]  # no parts are left


def test_rows_of_pixels_belong_to_rows_of_the_catalogue(built: Survey) -> None:
    pack = load_pack()
    assert built.images is not None
    assert built.spectra is not None
    for row in (0, 95, N - 1):
        one = draw_candidates(4, int(built.target_id[row]) % 10**9, 1, pack)
        assert np.array_equal(built.images[row], render_images(one, pack)[0].astype(np.float16))
        assert np.array_equal(built.spectra[row], simulate_spectra(one, pack)[0][0])


def test_images_and_magnitudes_agree(built: Survey) -> None:
    assert built.images is not None
    central = built.images[:, 1, 56:96, 56:96].sum(axis=(1, 2), dtype=np.float64)
    difference = 22.5 - 2.5 * np.log10(central) - built.catalogue["mag_r"].to_numpy()
    assert np.median(difference) == pytest.approx(0.0, abs=0.1)  # 10 arcsec lose wings and gain neighbours


def test_workers_change_nothing(built: Survey, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    other = build_survey(tmp_path / "sim", N, seed=4, progress=lambda *at: seen.append(at), n_workers=2)
    assert other.digest == built.digest
    assert dict(other.info.files) == dict(built.info.files)
    assert seen[-1] == (N, N)
    assert seen == sorted(seen)


def test_an_interrupted_build_goes_on_where_it_stopped(
    built: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_survey(tmp_path / "sim", N, seed=4, progress=stop)
    assert not (tmp_path / "sim").exists()
    made: list[int] = []
    honest = building.make_part

    def noted(flavour: str, seed: int, number: int, n: int, files: dict[str, str]) -> None:
        made.append(number)
        honest(flavour, seed, number, n, files)

    monkeypatch.setattr(building, "make_part", noted)
    resumed = build_survey(tmp_path / "sim", N, seed=4)
    assert made == [1]  # part 0 was there
    assert resumed.digest == built.digest
    assert list(tmp_path.iterdir()) == [tmp_path / "sim"]


def test_a_build_that_was_killed_goes_on(built: Survey, tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from benchmark.simulator import build_survey\n"
        f"build_survey(Path({str(tmp_path / 'sim')!r}), {N}, 4, lambda *at: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    # the rest as here: with other kernels of linear algebra the last digits are others
    around = os.environ | {"PYTHONPATH": str(Path(building.__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", code], env=around, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    (parts,) = tmp_path.iterdir()
    assert sorted(path.name for path in parts.glob("*.npy")) == ["images-000000.npy", "spectra-000000.npy"]
    assert build_survey(tmp_path / "sim", N, seed=4).digest == built.digest
    assert list(tmp_path.iterdir()) == [tmp_path / "sim"]


def test_parts_of_a_smaller_survey_are_made_again_where_they_were_cut(tmp_path: Path) -> None:
    candidate = np.arange(3, dtype=np.int64)
    parts = building.Parts(tmp_path / "sim", SOUTH, "2", 0, ("image",), candidate)
    parts.folder.mkdir()
    np.save(parts.folder / "images-000000.npy", np.zeros((2, 3, 4, 4), np.float16))
    assert not parts._is_there(0)
    np.save(parts.folder / "images-000000.npy", np.zeros((3, 3, 4, 4), np.float16))
    assert parts._is_there(0)
    assert building.Parts(tmp_path / "sim", SOUTH, "2", 1, ("image",), candidate).folder != parts.folder


def test_a_worker_that_fails_says_which_galaxies(tmp_path: Path) -> None:
    orders = [
        {"flavour": "south", "number": 7, "seed": 0, "n": 1, "files": {"image": str(tmp_path / "nowhere" / "x.npy")}}
    ]
    with pytest.raises(GalaxybenchError, match=r"candidates 7168 to 8191: FileNotFoundError.*what is finished is kept"):
        list(building._in_workers(orders, 1))


def test_a_worker_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def dying() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "import os; input(); os._exit(9)"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(building, "_start_worker", dying)
    orders = [{"number": k, "seed": 0, "n": 1, "files": {}} for k in range(3)]
    with pytest.raises(GalaxybenchError, match=r"a worker process died \(exit code 9\)"):
        list(building._in_workers(orders, 2))


def test_orders_survive_the_pipe(tmp_path: Path) -> None:
    parts = building.Parts(tmp_path / "sim", SOUTH, "2", 5, ("image", "spectrum"), np.array([1, 5, 2000]))
    order = parts._order(1)
    assert json.loads(json.dumps(order)) == order
    assert order["n"] == 1


def test_photometry_alone_makes_no_pixels(tmp_path: Path) -> None:
    survey = build_survey(tmp_path / "sim", 50, modalities=("photometry",))
    assert survey.modalities == ("photometry",)
    assert sorted(path.name for path in survey.folder.iterdir()) == ["catalogue.parquet", "survey.toml"]


def test_an_unknown_modality_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"modalities names 'radio': allowed are photometry, image, spectrum"):
        build_survey(tmp_path / "sim", 5, modalities=("radio",))  # type: ignore[arg-type]


def test_an_existing_survey_is_refused_before_any_work(built: Survey) -> None:
    with pytest.raises(UsageError, match="already holds a survey"):
        build_survey(built.folder, N, progress=lambda done, total: pytest.fail("worked"))
