"""Numbers, intervals and tables of the READMEs, and the committed JSON that they come from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Classical models as the READMEs call them.
NAMES = {
    "pca": "PCA",
    "pca_best": "PCA, best K",
    "factor_analysis": "factor analysis",
    "factor_analysis_best": "factor analysis, best K",
    "ledoit_wolf": "Ledoit–Wolf",
    "multivariate_t": "multivariate t",
    "multivariate_t_shrunk": "shrunk multivariate t",
    "ewma_t": "EWMA, t",
    "ewma_t_two_speeds": "EWMA of two speeds",
    "garch_copula": "GARCH, t copula",
    "ccc_t": "constant correlations, t",
}


def results(name: str, folder: str = "experiments") -> Any:
    """A committed JSON."""
    path = ROOT / folder / "results" / f"{name}.json"
    return json.loads(path.read_text("utf-8"))


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A number with a true minus sign."""
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def interval(value: float, low: float, high: float) -> str:
    """A signed number with the ends of its interval."""
    return f"{number(value, sign=True)} [{number(low, sign=True)}, {number(high, sign=True)}]"


def listed(names: Iterable[str]) -> str:
    """Names with commas, and an "and" before the last."""
    *most, last = list(names) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def claims(*lines: str) -> str:
    """Claims in bold, a bullet each."""
    return "\n".join(f"- **{line}**" for line in lines)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def joint(lead: dict[str, Any]) -> str:
    """A lead with the interval that holds all leads of its study at once."""
    return interval(lead["difference"], lead["low_joint"], lead["high_joint"])


def stands(lead: dict[str, Any]) -> str:
    """Ahead, behind or level, by the joint interval."""
    if lead["low_joint"] > 0:
        return "ahead of"
    return "behind" if lead["high_joint"] < 0 else "level with"


def lead_over(result: dict[str, Any], baseline: str, model: str = "vae_ensemble") -> Any:
    """A row of a study's paired differences."""
    rows = (row for row in result["leads"] if row["baseline"] == baseline)
    return next(row for row in rows if row.get("model", "vae_ensemble") == model)
