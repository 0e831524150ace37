"""Real galaxies to compare with, read below the folder that ``$GALAXYBENCH_REAL_DATA`` names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image

__all__ = ["desi_snr", "legacy_cube", "sdss_to_decam", "stripe82", "zcosmos", "zoo_cutouts"]

FITS_CUBE = Path("legacysurvey_fits") / "astroclip_test_image_dr9_256px.fits"
COADD = Path("desi_coadds") / "coadd-4-80613-thru20210324.fits"
BGS_SECONDS = 180.0  # effective time of the Bright Galaxy Survey (Hahn et al. 2023, AJ 165, 253)
SECONDS_PER_TSNR2 = 0.14  # of TSNR2_BGS (Guy et al. 2023, AJ 165, 144)
STAR_SHARE = 0.78  # of a star's light that enters a fibre; spectra are calibrated by stars


def sdss_to_decam(g: NDArray, r: NDArray, i: NDArray, z: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """DECam g, r, z magnitudes of SDSS ones (DES Collaboration 2021, ApJS 255, 20, from stars)."""
    return g - 0.061 * (g - i) + 0.008, r - 0.155 * (r - i) - 0.007, z - 0.056 * (r - i) + 0.027


def stripe82(folder: Path) -> pd.DataFrame:
    """SDSS Stripe 82 galaxies with spectra, 33,410 rows: ``z, r, gr, rz`` as DECam would have them.

    Not corrected for dust of the Milky Way (E(B-V) ~ .04); selected for spectroscopy by several programmes, luminous
    red galaxies at z > .3 among them, so densities in colour are not those of a magnitude limit.
    """
    table = pd.read_csv(folder / "photoz_catalogues" / "stripe82_galaxies.csv.gz")
    sdss = (table[f"MAG_AUTO_{band}"].to_numpy() for band in "GRIZ")
    return _photometry(table["z"].to_numpy(), *sdss_to_decam(*sdss))


def zcosmos(folder: Path) -> pd.DataFrame:
    """zCOSMOS-bright galaxies with secure redshifts: ``z, r, gr, rz`` in Subaru's filters; complete to I = 22.5.

    Colours are of 3 arcsec apertures; r is total: the aperture's with the total I magnitude that galaxies were selected
    by in place of the aperture's. Rows that lack one of g, r, i, z, with redshift confidence below 3 or of stars
    (z < .01) are left out, many bright galaxies, which saturate, among them; the field has 1.7 square degrees, so its
    large-scale structure shows.
    """
    table = pd.read_csv(folder / "photoz_catalogues" / "zcosmost_bright20k.csv.gz")
    mag = table[["g_photzi25", "r_photzi25", "z_photzi25", "ic_photzi25"]].to_numpy()
    quality = np.floor(table["cc"].to_numpy() % 10)
    good = (
        (mag > 10).all(axis=1) & (mag < 40).all(axis=1) & np.isin(quality, (3, 4)) & (table["zpec"].to_numpy() > 0.01)
    )
    g, r, z, i = mag[good].T
    sample = _photometry(table["zpec"].to_numpy()[good], g, r, z)
    return sample.assign(r=r + table["mag_sel"].to_numpy()[good] - i)


def _photometry(redshift: NDArray, g: NDArray, r: NDArray, z: NDArray) -> pd.DataFrame:
    return pd.DataFrame({"z": redshift, "r": r, "gr": g - r, "rz": r - z})


def legacy_cube(folder: Path) -> NDArray[np.float64]:
    """(3, 256, 256) g, r, z in nanomaggies a pixel of .262 arcsec: a field of the Legacy Surveys' ninth release."""
    with fits.open(folder / FITS_CUBE) as file:
        return np.asarray(file[0].data, dtype=np.float64)


def zoo_cutouts(folder: Path, n: int) -> NDArray[np.uint8]:
    """(n, 152, 152, 3) colour cutouts of Galaxy Zoo DECaLS, evenly through the names, each scaled to its galaxy."""
    paths = sorted((folder / "gz_decals_rings" / "images").glob("*.jpg"))
    chosen = [paths[k] for k in np.linspace(0, len(paths) - 1, n).round().astype(int)]
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in chosen])


def desi_snr(folder: Path) -> tuple[float, float]:
    """A DESI galaxy's r magnitude in the fibre, and its median S/N a pixel of 5800-7600 A, scaled to 180 s of BGS.

    The magnitude is by the share of a star's light, as simulated ones are. One galaxy of survey validation (z = .369),
    seen for 3,100 effective seconds.
    """
    with fits.open(folder / COADD) as file:
        scores, fibre = file["SCORES"].data[0], file["FIBERMAP"].data[0]
        seconds = SECONDS_PER_TSNR2 * float(scores["TSNR2_BGS"])
        snr = float(scores["MEDIAN_COADD_SNR_R"]) * np.sqrt(BGS_SECONDS / seconds)
        return 22.5 - 2.5 * np.log10(float(fibre["FIBERFLUX_R"]) / STAR_SHARE), float(snr)
