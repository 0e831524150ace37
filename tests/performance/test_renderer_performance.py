"""The renderer beside GalSim, where that is installed (it is no dependency): ``tox -e benchmark``.

GalSim draws what it can of the same galaxies: de Vaucouleurs bulge, exponential disc and 14 knots in three bands behind
a point-spread function of two Gaussians; no arms, bars, lanes, neighbours or noise. ``extra_info`` holds images (of
three bands) per CPU-second of both and their ratio. No time is asserted.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmark.simulator.appearance import Appearance, draw_appearance
from benchmark.simulator.candidates import Candidates, draw_candidates
from benchmark.simulator.flavours import SOUTH
from benchmark.simulator.images import render_images
from benchmark.simulator.morphology import N_KNOTS
from benchmark.simulator.pack import load_pack
from benchmark.simulator.renderer import PSF_SHARES, PSF_WIDTHS, psf_sigma_per_fwhm

N_PEER = 32


def draw_with_galsim(drawn: Candidates, appearance: Appearance, rows: range) -> np.ndarray:
    galsim = pytest.importorskip("galsim")
    shape, fwhm = appearance.morphology, appearance.conditions.fwhm_arcsec
    stamps = np.empty((len(rows), fwhm.shape[1], SOUTH.image_size, SOUTH.image_size), np.float32)
    for i in rows:
        turn = shape.angle[i] * galsim.radians
        bulge = galsim.DeVaucouleurs(half_light_radius=shape.bulge_radius[i]).shear(q=shape.bulge_ratio[i], beta=turn)
        disc = galsim.Exponential(scale_radius=shape.disc_scale[i])
        knots = galsim.RandomKnots(N_KNOTS, profile=disc, rng=galsim.BaseDeviate(i + 1))
        disc = (0.95 * disc + 0.05 * knots).shear(q=shape.disc_ratio[i], beta=turn)
        for band in range(fwhm.shape[1]):
            core = psf_sigma_per_fwhm() * fwhm[i, band]
            psf = galsim.Add(*(s * galsim.Gaussian(sigma=w * core) for s, w in zip(PSF_SHARES, PSF_WIDTHS)))
            galaxy = drawn.stars[i, 0, band] * bulge + (drawn.stars[i, 1, band] + drawn.line_flux[i, band]) * disc
            image = galsim.Convolve(galaxy, psf).drawImage(
                nx=SOUTH.image_size, ny=SOUTH.image_size, scale=SOUTH.pixel_scale_arcsec, method="no_pixel"
            )
            stamps[i, band] = image.array
    return stamps


def test_cutouts_beside_galsim(benchmark) -> None:
    pytest.importorskip("galsim")
    pack = load_pack()
    drawn = draw_candidates(0, 0, 2048, pack)
    drawn = drawn.take(drawn.kept)
    appearance = draw_appearance(drawn, pack)
    benchmark.pedantic(render_images, args=(drawn, pack, appearance), rounds=3, warmup_rounds=1)
    ours, theirs = [], []
    for _ in range(3):
        start = time.process_time()
        render_images(drawn, pack, appearance)
        middle = time.process_time()
        draw_with_galsim(drawn, appearance, range(N_PEER))
        ours.append(len(drawn) / (middle - start))
        theirs.append(N_PEER / (time.process_time() - middle))
    benchmark.extra_info["images_per_cpu_second"] = round(float(np.median(ours)), 1)
    benchmark.extra_info["peer_images_per_cpu_second"] = round(float(np.median(theirs)), 1)
    benchmark.extra_info["ours_over_peer"] = round(float(np.median(np.divide(ours, theirs))), 2)
