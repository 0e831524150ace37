"""The catalogue of a survey: one row a galaxy, checked against what the survey says, written as Parquet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.contracts import GalaxybenchError, Target
from benchmark.data.schema import SPLITS, SurveyInfo
from benchmark.data.splits import hash_split
from benchmark.data.tables import named

__all__ = ["CATALOGUE_FILE", "catalogue_digest", "normalise_catalogue", "read_catalogue", "write_catalogue"]

CATALOGUE_FILE = "catalogue.parquet"


def normalise_catalogue(catalogue: pd.DataFrame, info: SurveyInfo) -> pd.DataFrame:
    """Return the catalogue as it is stored: sorted by ``target_id``, with splits and positions.

    Parameters
    ----------
    catalogue : one row a galaxy; ``target_id`` integers; ``split`` may be absent where ``info.split_rule`` is
        ``hash``; ``ra`` and ``dec`` (degrees) may be absent.
    info : names the columns that must be there.

    Raises
    ------
    GalaxybenchError
        If a column is missing, repeated, of the wrong type or infinite, an id is repeated, or a split is unknown.
    """
    table = catalogue.reset_index(drop=True)
    if not table.columns.is_unique:
        raise GalaxybenchError(f"catalogue has column {table.columns[table.columns.duplicated()][0]!r} twice: keep one")
    _refuse_missing_columns(table, info)
    table["target_id"] = _integer_ids(table["target_id"])
    if len(table) == 0:
        raise GalaxybenchError("catalogue has 0 rows: a survey needs galaxies; check the row filter and the files")
    repeated = table["target_id"][table["target_id"].duplicated()].unique()
    if len(repeated):
        raise GalaxybenchError(f"target_id must be unique: {named(repeated)} appear again; keep one row of each")
    if "split" not in table:
        table["split"] = hash_split(table["target_id"].to_numpy())
    unknown = sorted({str(value) for value in table["split"].unique()} - set(SPLITS))
    if unknown:
        raise GalaxybenchError(f"split has {named(unknown)}: allowed are {', '.join(SPLITS)}")
    for name in ("ra", "dec"):
        table[name] = table[name].astype(np.float64) if name in table else np.nan
    _refuse_bad_values(table, info)
    order = ["target_id", "split", "ra", "dec"]
    table = table[[*order, *(name for name in table.columns if name not in order)]]
    return table.sort_values("target_id", kind="stable", ignore_index=True)


def _refuse_missing_columns(table: pd.DataFrame, info: SurveyInfo) -> None:
    needed = {
        "target_id": "",
        **{target.name: "a target" for target in info.targets},
        **{f"mag_{band}": f"the photometry of band {band}" for band in info.photometry_bands},
        **dict.fromkeys(info.vote_columns, "votes"),
        **dict.fromkeys(info.error_columns, "the error of a target"),
    }
    if info.split_rule != "hash":
        needed["split"] = f"the split (split_rule = {info.split_rule!r})"
    for name, role in needed.items():
        if name not in table:
            what = f"{name!r}, {role}" if role else repr(name)
            raise GalaxybenchError(f"catalogue has no column {what}; columns: {', '.join(map(str, table.columns))}")


def _integer_ids(column: pd.Series) -> pd.Series:
    if not pd.api.types.is_integer_dtype(column.dtype) or column.isna().any():
        raise GalaxybenchError(
            f"target_id has dtype {column.dtype}: must be integers, none missing (floats lose digits)"
        )
    if len(column) and int(column.max()) > np.iinfo(np.int64).max:
        raise GalaxybenchError(f"target_id {column.max()} does not fit int64: hash the ids instead")
    return column.astype(np.int64)


def _refuse_bad_values(table: pd.DataFrame, info: SurveyInfo) -> None:
    numeric = [
        *(target.name for target in info.targets),
        *(f"mag_{band}" for band in info.photometry_bands),
        *info.vote_columns,
        *info.error_columns,
        "ra",
        "dec",
    ]
    for name in numeric:
        if not pd.api.types.is_numeric_dtype(table[name].dtype):
            raise GalaxybenchError(f"catalogue column {name!r} has dtype {table[name].dtype}: must be numbers")
    for target in info.targets:
        if target.classes:
            _refuse_no_class(table, target)
    for name in info.error_columns:
        wrong = table[name].to_numpy(dtype=np.float64) <= 0
        if wrong.any():
            raise GalaxybenchError(
                f"catalogue column {name!r} is not above 0 for target_id {named(table['target_id'][wrong])}: an error "
                "is positive, NaN where it is not known"
            )
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_float_dtype(column.dtype):
            infinite = np.isinf(column.to_numpy(dtype=np.float64))
            if infinite.any():
                raise GalaxybenchError(
                    f"catalogue column {name!r} is infinite for target_id {named(table['target_id'][infinite])}: "
                    "use NaN for a missing value"
                )
        elif not (pd.api.types.is_numeric_dtype(column.dtype) or _is_text(column)):
            raise GalaxybenchError(f"catalogue column {name!r} has dtype {column.dtype}: must be numbers or text")


def _refuse_no_class(table: pd.DataFrame, target: Target) -> None:
    wrong = table[target.name].notna() & ~table[target.name].isin(range(len(target.classes)))
    if wrong.any():
        names = ", ".join(f"{number} ({name})" for number, name in enumerate(target.classes))
        raise GalaxybenchError(
            f"target {target.name!r} is {table[target.name][wrong].iloc[0]:g} for target_id "
            f"{named(table['target_id'][wrong])}: its classes are {names}; NaN is missing"
        )


def _is_text(column: pd.Series) -> bool:
    return bool(column.map(lambda value: isinstance(value, str)).all())


def catalogue_digest(table: pd.DataFrame) -> str:
    """Return the sha256 of names, types and values, the same for every version of the Parquet writer."""
    digest = hashlib.sha256()
    for name in sorted(table.columns):
        column = table[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            values = np.ascontiguousarray(column.to_numpy())
            if values.dtype.kind == "f":
                values = np.where(np.isnan(values), values.dtype.type(np.nan), values)  # one bit pattern for NaN
            content = values.astype(values.dtype.newbyteorder("<")).tobytes()
            kind = values.dtype.name
        else:
            content, kind = json.dumps(column.tolist()).encode(), "text"
        digest.update(json.dumps([name, kind, len(content)]).encode())
        digest.update(content)
    return digest.hexdigest()


def write_catalogue(path: Path, table: pd.DataFrame) -> None:
    """Write the catalogue as Parquet."""
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, compression="zstd")


def read_catalogue(path: Path, info: SurveyInfo) -> pd.DataFrame:
    """Read a survey's catalogue and check it against ``survey.toml``.

    Raises
    ------
    GalaxybenchError
        If the file cannot be read, or ids, columns or counts are not what the survey says.
    """
    try:
        with pq.ParquetFile(path) as file:  # read_table would take parts of the folder's name for columns
            table = file.read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise GalaxybenchError(f"{path} cannot be read as Parquet ({reason}): build the survey again") from error
    stored = normalise_catalogue(table, info)
    if not np.array_equal(stored["target_id"].to_numpy(), table["target_id"].to_numpy()):
        raise GalaxybenchError(f"{path} is not sorted by target_id: import or build the survey again")
    counts = {name: int(n) for name, n in stored["split"].value_counts().items()}
    if counts != {name: n for name, n in info.counts.items() if n}:
        raise GalaxybenchError(f"{path} has {counts} galaxies, survey.toml says {dict(info.counts)}: build it again")
    return stored
