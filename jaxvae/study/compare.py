"""Several studies of one panel side by side, by the dates that a choice may look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jaxvae.errors import DataError
from jaxvae.study.study import Study, load_study


def compare(
    studies: Mapping[Any, Study | str | Path] | Sequence[Study | str | Path],
) -> pd.DataFrame:
    """Validation scores of several studies of one panel, the likeliest first.

    Test dates are left out, so that nobody chooses by them.

    Args:
        studies: they or their folders, by the names that they are to have; or in a sequence, where
            folders have their own names and others are numbered from 0.

    Returns:
        A row a study: study; model, factors and beta, as chosen or asked for; members; of the
        members at that beta, which were trained on `train` alone, log_likelihood, the mean over
        seeds of a validation date's (nats in standard units), seed_deviation, its standard
        deviation over seeds, and r2, the mean share of variance rebuilt there.

    Raises:
        DataError: fewer than two, or of different panels.
        FolderError: a folder holds no study, or a damaged one.
    """
    if not isinstance(studies, Mapping):
        studies = {k if isinstance(one, Study) else str(one): one for k, one in enumerate(studies)}
    named: dict[str | int, Study] = {
        name: one if isinstance(one, Study) else load_study(one) for name, one in studies.items()
    }
    if len(named) < 2:
        raise DataError("one study has nothing to be compared with; name two or more")
    first, *others = named
    for other in others:
        if _returns_of(named[other]) != _returns_of(named[first]):
            raise DataError(
                f"{other} is of other returns than {first}: likelihoods compare on one panel only"
            )
    table = pd.DataFrame([{"study": name, **_scores(study)} for name, study in named.items()])
    ordered = table.sort_values("log_likelihood", ascending=False, kind="stable")
    ordered.attrs["units"] = "nats per date; shares of variance"
    return ordered.reset_index(drop=True)


def _returns_of(study: Study) -> object:
    """What tells a panel's returns from others'; covariates and sectors may differ."""
    return study.config["identity"]["data"]["returns"]


def _scores(study: Study) -> dict[str, object]:
    config, members = study.config, study.members
    beta = config["chosen"]["beta"]
    seeds = members[(members.beta == beta) & members.ok]
    return {
        "model": config["model"],
        "factors": config["n_factors"],
        "beta": beta,
        "members": len(members),
        "log_likelihood": seeds.log_likelihood_validation.mean(),
        "seed_deviation": seeds.log_likelihood_validation.std(),
        "r2": seeds.r2_validation.mean(),
    }
