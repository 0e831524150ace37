"""Sources put together: appended, joined by id or by position, and split."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.contracts import GalaxybenchError
from benchmark.data.importing.crossmatch import match_positions
from benchmark.data.importing.sources import DRAW_ROW, IMAGE_ROW, MATCH_DEC, MATCH_RA, SPECTRUM_ROW, SourcePart
from benchmark.data.importing.spec import ImportSpec, MatchSpec
from benchmark.data.splits import hash_split, validation_from_train
from benchmark.data.tables import named

__all__ = ["DRAW_SOURCE", "IMAGE_SOURCE", "OWNERS", "SPECTRUM_SOURCE", "decide_splits", "put_together"]

# a space keeps these apart from every catalogue column
IMAGE_SOURCE, SPECTRUM_SOURCE, DRAW_SOURCE = "image source", "spectrum source", "draw source"
OWNERS = ((IMAGE_ROW, IMAGE_SOURCE), (SPECTRUM_ROW, SPECTRUM_SOURCE), (DRAW_ROW, DRAW_SOURCE))


def put_together(spec: ImportSpec, parts: list[SourcePart]) -> pd.DataFrame:
    """Append and join the sources, in the spec's order.

    Parameters
    ----------
    spec : says which source is what.
    parts : what each holds; what was dropped or matched is noted in them.

    Returns
    -------
    One row a galaxy; `IMAGE_SOURCE`, `SPECTRUM_SOURCE` and `DRAW_SOURCE` number the sources that hold its arrays,
    NaN without.

    Raises
    ------
    GalaxybenchError
        If two sources bring the same column, or appended ones the same galaxy.
    """
    for number, part in enumerate(parts):
        for row, owner in OWNERS:
            if row in part.table:
                part.table[owner] = number
    table = parts[0].table
    for number, (source, part) in enumerate(zip(spec.sources[1:], parts[1:], strict=True), start=2):
        where = f"{spec.path}: source {number} ({source.path})"
        if source.match is not None:
            part.table = _with_ids(table, part, source.match, where)
        shared = np.intersect1d(table["target_id"], part.table["target_id"])
        if source.role == "append":
            if len(shared):
                raise GalaxybenchError(f"{where}: ids {named(shared)} are in an earlier source too; use role = 'join'")
            table = pd.concat([table, part.table], ignore_index=True)
            continue
        if source.split == "hash":
            part.table = part.table.drop(columns="split")
        else:
            table = table.drop(columns="split")
        if "source_id" in table:  # names from which the joined ids were made, too
            part.table = part.table.drop(columns="source_id", errors="ignore")
        doubled = [name for name in part.table.columns if name != "target_id" and name in table]
        if doubled:
            raise GalaxybenchError(f"{where}: brings {', '.join(doubled)}, which an earlier source has; name it once")
        if source.match is None:
            part.dropped["not in the catalogue it is joined to"] += len(part.table) - len(shared)
        part.notes.append(f"{len(shared)} of {len(table)} galaxies matched")
        table = table.merge(part.table, on="target_id", how="left", validate="one_to_one")
    return table


def _with_ids(table: pd.DataFrame, part: SourcePart, match: MatchSpec, where: str) -> pd.DataFrame:
    """The rows of a source that are galaxies by their position, with the galaxies' ids."""
    for name in ("ra", "dec"):
        if name not in table:
            raise GalaxybenchError(f"{where}: match needs ra and dec of the galaxies: name them in an earlier source")
    ra, dec = (table[name].to_numpy(dtype=np.float64) for name in ("ra", "dec"))
    other_ra, other_dec = (part.table[name].to_numpy(dtype=np.float64) for name in (MATCH_RA, MATCH_DEC))
    found = match_positions(ra, dec, other_ra, other_dec, match.radius_arcsec)
    ids = table["target_id"].to_numpy()
    matched = np.flatnonzero(found.row >= 0)
    if len(matched):
        part.notes.append(
            f"matched by position within {match.radius_arcsec:g} arcsec, median separation "
            f"{np.median(found.separation_arcsec[matched]):.3f} arcsec"
        )
    if len(found.ambiguous):
        part.notes.append(
            f"ambiguous: {len(found.ambiguous)} galaxies have several rows within the radius, the nearest was taken: "
            f"{named(ids[found.ambiguous])}"
        )
    if len(found.repeated):
        part.notes.append(
            f"repeated: {len(found.repeated)} rows have several galaxies within the radius, the nearest has it: "
            f"rows {named(found.repeated)}"
        )
    part.dropped[f"no galaxy within {match.radius_arcsec:g} arcsec, or a nearer row"] += len(part.table) - len(matched)
    rows = part.table.iloc[found.row[matched]].drop(columns=[MATCH_RA, MATCH_DEC]).reset_index(drop=True)
    rows.insert(0, "target_id", ids[matched])
    return rows


def decide_splits(spec: ImportSpec, table: pd.DataFrame) -> tuple[NDArray, str]:
    """Return the split of each galaxy and the rule in words.

    Raises
    ------
    GalaxybenchError
        If a joined source that brings the splits lacks a galaxy.
    """
    ids, given = table["target_id"].to_numpy(), table["split"]
    by_hash = given.isna().to_numpy()
    brought = sorted({source.split for source in spec.sources if source.split != "hash"})
    if not brought:
        return hash_split(ids), "hash"
    whole = all(source.split == "hash" for source in spec.sources if source.role == "append")
    if by_hash.any() and whole:
        raise GalaxybenchError(f"{spec.path}: no split for ids {named(ids[by_hash])}: the joined source lacks them")
    split = given.fillna("").to_numpy(dtype="U10")
    rule = f"from the source ({', '.join(brought)})"
    if "validation" not in split and "train" in split:
        split = validation_from_train(ids, split)
        rule += "; validation is 12.5 % of train, by hash of target_id"
    if by_hash.any():
        split[by_hash] = hash_split(ids[by_hash])
        rule += "; hash of target_id for the other sources"
    return split, rule
