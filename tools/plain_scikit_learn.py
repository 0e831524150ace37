"""Plain scikit-learn on the split of a survey, beside the board: ``python tools/plain_scikit_learn.py FOLDER...``.

Gradient boosting on magnitudes and neighbouring colours; ridge on 8 x 8 pixel means of the images, and on 64 principal
components of normalised spectra; of classes the same with a logistic regression. Trained on train and validation
together, scored once on test.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.data import Survey, inputs, load_survey
from benchmark.metrics import r2, sigma_nmad

GRID, BINNED = 8, 8
ALPHAS = np.logspace(-1, 5, 13)


def features(survey: Survey, modality: str, rows: NDArray[np.int64]) -> NDArray:
    values = inputs(survey, modality, rows)[:]
    if modality == "photometry":
        return np.hstack([values, np.diff(values, axis=1)])
    if modality == "image":
        n, bands, height, width = values.shape
        high, wide = height // GRID, width // GRID
        blocks = values[:, :, : GRID * high, : GRID * wide].reshape(n, bands, GRID, high, GRID, wide)
        return blocks.mean(axis=(3, 5)).reshape(n, -1)
    flux = values[:, 0, : values.shape[2] // BINNED * BINNED].reshape(len(values), -1, BINNED).mean(axis=2)
    return flux / np.abs(flux).mean(axis=1, keepdims=True)


def model(modality: str, *, classes: bool) -> Any:
    if modality == "photometry":
        return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=0)
    last = LogisticRegressionCV(Cs=np.logspace(-5, 1, 13), cv=5, max_iter=2000) if classes else RidgeCV(ALPHAS)
    return make_pipeline(StandardScaler(), *([PCA(64, random_state=0)] if modality == "spectrum" else []), last)


def main(folders: list[str]) -> None:
    for folder in folders:
        survey = load_survey(folder)
        train, test = survey.rows("train", "validation"), survey.rows("test")
        for modality in survey.modalities:
            seen, asked = features(survey, modality, train), features(survey, modality, test)
            for target in survey.info.targets:
                y, truth = (survey.target([target.name], rows)[:, 0] for rows in (train, test))
                known, judged = np.isfinite(y), np.isfinite(truth)
                fitted = model(modality, classes=bool(target.classes)).fit(seen[known], y[known])
                found = fitted.predict(asked[judged])
                if target.classes:
                    chance = fitted.predict_proba(asked[judged])
                    area = roc_auc_score(
                        truth[judged], chance[:, 1] if len(target.classes) == 2 else chance, multi_class="ovr"
                    )
                    accuracy = balanced_accuracy_score(truth[judged], found)
                    print(f"{survey.info.name} {modality} {target.name}: ROC area {area:.3f}, balanced {accuracy:.3f}")
                    continue
                scatter = f", sigma_NMAD {sigma_nmad(truth[judged], found):.4f}" if target.name == "z" else ""
                print(f"{survey.info.name} {modality} {target.name}: R2 {r2(truth[judged], found):.3f}{scatter}")


if __name__ == "__main__":
    main(sys.argv[1:])
