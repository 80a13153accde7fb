"""A study's results, and the folder that keeps them.

Every table is a CSV, every array that a plot or a later command needs is in `arrays.safetensors`
(a format that holds numbers and no code), and `config.json` says how it all came to be.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxvae.errors import FolderError
from jaxvae.runs.checkpoint import load_tree, save_tree

SCHEMA = 1
ARRAYS = "arrays.safetensors"
CHECKPOINTS = "checkpoints"
PARAMETERS = ("members", "refits")
BINARIES = (ARRAYS, *(f"{CHECKPOINTS}/{name}.safetensors" for name in PARAMETERS))
# Tables whose first column is their index: a date or a ticker.
INDEXED = {"factors": True, "loadings": False, "covariance": False}
TABLES = ("members", "metrics", "history", "comparisons", *INDEXED)
# Folders of earlier versions have none of these.
LATER_TABLES = ("n_factors", "spectrum", "rankings")
COLUMNS = {
    "members": {"member", "seed", "beta", "ok", "best_epoch"},
    "metrics": {"model", "member", "factors", "split", "metric", "value"},
    "history": {"member", "epoch", "total", "reconstruction", "kl", "validation"},
    "comparisons": {"model", "baseline", "split", "difference", "low", "high"},
    "n_factors": {"kind", "name", "factors", "log_likelihood", "gain", "low", "high"},
    "spectrum": {"beta", "factor", "signal_to_noise", "linear", "members"},
    "rankings": {"criterion", "members", "best_member", "correlation", "best_score"},
}
# What commands and the report look up; whatever else is in `config.json` may come and go.
SETTINGS = (
    *("name", "preset", "seeds", "betas", "n_factors", "likelihood_samples", "panel", "chosen"),
    *("reference", "sectors", "assets", "shown_assets", "factor_names", "notes", "device"),
    *("versions", "model_config", "train_config", "checksums"),
)


@dataclass(frozen=True)
class Study:
    """The results of a study; tables as DataFrames, in the columns of the files of the same names.

    config: what `config.json` holds.
    members: a row a member: member, seed, beta, ok, best_epoch, then its scores.
    metrics: tidy: model, member, factors, split, metric, value.
    history: member, epoch, total, reconstruction, kl, validation.
    comparisons: paired differences in test log-likelihood with their intervals.
    factors: dates × consensus factors. loadings: assets × consensus factors.
    covariance: assets × assets, in the units of the returns.
    arrays: what plots draw and later commands need, by name (see `summary.py`).
    parameters: variables of the "members" of the grid and of the "refits" of the chosen β, each a
        nested dict of arrays with the member axis first; kept in `checkpoints/`.
    n_factors: how many factors there are, by several estimators and over the ensemble's sizes.
    spectrum: which factors each β loses, in theory and among members.
    rankings: ways to rank members without the truth. All three: see `evidence.py`; None in studies
        of earlier versions.
    """

    config: dict[str, Any]
    members: pd.DataFrame
    metrics: pd.DataFrame
    history: pd.DataFrame
    comparisons: pd.DataFrame
    factors: pd.DataFrame
    loadings: pd.DataFrame
    covariance: pd.DataFrame
    arrays: dict[str, np.ndarray]
    parameters: dict[str, Any]
    n_factors: pd.DataFrame | None = None
    spectrum: pd.DataFrame | None = None
    rankings: pd.DataFrame | None = None

    def metric(self, model: str, metric: str, split: str, member: int | None = None) -> float:
        """One value of the metrics table; NaN where there is none."""
        table = self.metrics
        rows = table[(table.model == model) & (table.metric == metric) & (table.split == split)]
        if member is not None:
            rows = rows[rows.member == member]
        return float(rows.value.iloc[0]) if len(rows) else float("nan")


def save_study(study: Study, folder: Path) -> None:
    """Write configuration, tables, arrays and checkpoints into an existing folder."""
    for name in (*TABLES, *LATER_TABLES):
        table: pd.DataFrame | None = getattr(study, name)
        if table is not None:
            table.to_csv(folder / f"{name}.csv", index=name in INDEXED, encoding="utf-8")
    save_tree(study.arrays, folder / ARRAYS)
    (folder / CHECKPOINTS).mkdir()
    for name, tree in study.parameters.items():
        save_tree(tree, folder / CHECKPOINTS / f"{name}.safetensors")
    config = {**study.config, "checksums": {name: _checksum(folder / name) for name in BINARIES}}
    text = json.dumps(config, indent=2, allow_nan=False, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load_study(folder: str | Path) -> Study:
    """Read a study's folder back.

    Raises FolderError on a missing folder, a missing or damaged file, or a newer schema.
    """
    folder = Path(folder)
    config = _read_config(folder)
    for name in BINARIES:
        _require_same(folder / name, config["checksums"].get(name))
    later = tuple(name for name in LATER_TABLES if (folder / f"{name}.csv").exists())
    tables = {name: _read_table(folder / f"{name}.csv", name) for name in (*TABLES, *later)}
    files = {name: folder / CHECKPOINTS / f"{name}.safetensors" for name in PARAMETERS}
    parameters = {name: load_tree(path) for name, path in files.items()}
    return Study(config=config, arrays=load_tree(folder / ARRAYS), parameters=parameters, **tables)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise FolderError(f"{folder} is no study's folder: it has no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        schema = int(config["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FolderError(f"{path} is damaged: {error}") from error
    if config.get("command") == "walk":
        raise FolderError(f"{path.parent} is a walk's folder, no study's: see walk.md in it")
    if schema > SCHEMA:
        raise FolderError(f"{path} has schema {schema}; this reads up to {SCHEMA}: upgrade jaxvae")
    if absent := [name for name in SETTINGS if name not in config]:
        raise FolderError(f"{path} is damaged: it has no {absent[0]!r}")
    return config


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _require_same(path: Path, checksum: str | None) -> None:
    try:
        found = _checksum(path)
    except FileNotFoundError as error:
        raise FolderError(f"{path} is missing; the study's folder is not whole") from error
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {error.strerror or error}") from error
    if found != checksum:
        raise FolderError(f"{path} is damaged or another study's: config.json has another checksum")


def _read_table(path: Path, name: str) -> pd.DataFrame:
    try:
        if name not in INDEXED:
            return _require_columns(pd.read_csv(path), COLUMNS[name], path)
        # A ticker such as NA or null is a name, not a missing cell.
        table = pd.read_csv(path, dtype={0: str}, keep_default_na=False, na_values=[""])
        table = table.set_index(table.columns[0])
        table.index = pd.to_datetime(table.index) if INDEXED[name] else table.index
        table = table.astype(float)
    except FileNotFoundError as error:
        raise FolderError(f"{path} is missing; the study's folder is not whole") from error
    except (OSError, ValueError) as error:
        raise FolderError(f"{path} is damaged: {error}") from error
    return table


def _require_columns(table: pd.DataFrame, columns: set[str], path: Path) -> pd.DataFrame:
    if absent := sorted(columns - set(table.columns)):
        raise FolderError(f"{path} is damaged: it has no column {absent[0]!r}")
    # In the metrics table both are blank where a row is no member's, or a model has no factors.
    blank = {"member": "Int64", "factors": "Int64"}
    return table.astype(blank) if columns >= blank.keys() else table
