"""The multivariate Student-t with a shrunk scale matrix."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.incomplete import Conditional, conditional, expected_moments, independent
from jaxvae.baselines.elliptical import Elliptical, refusing_singular
from jaxvae.baselines.multivariate_t import fit_t_from

SHRINKAGES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)


def fit_multivariate_t_shrunk(
    values: Float[np.ndarray, "date asset"], n_train: int, shares: Sequence[float] = SHRINKAGES
) -> Elliptical:
    """Multivariate Student-t whose scale matrix is shrunk towards the identity; no factors.

        S ← (1 − a) S + a (tr S / D) I    in each round of `fit_t_from`

    The share a is the first of `shares` after which a fit on the training rows makes the validation
    rows less likely; the law is then fitted anew on all rows. It needs no more dates than assets.

    Args:
        values: returns of training and validation, in this order; NaN marks a missing cell.
        n_train: how many of the rows are for training.
        shares: from 0 to 1, the largest first: a fit takes the more rounds the smaller they are.

    Raises:
        DataError: a scale matrix on the way is singular given the cells observed.

    Source: Ollila and Tyler (2014), "Regularized M-estimators of scatter matrix".
    """
    train, validation = values[:n_train], values[n_train:]
    law, best = Elliptical.without_factors(*expected_moments(independent(train))), -np.inf
    with refusing_singular(values):
        for share in shares:
            # The last share's law is near: a few rounds lead from it.
            tried = _fit(train, share, law)
            score = tried.log_likelihood(validation).mean()
            if score <= best:
                break
            law, best, chosen = tried, score, share
        return _fit(values, chosen, law)


def _fit(values: Float[np.ndarray, "date asset"], share: float, start: Elliptical) -> Elliptical:
    if len(values) < values.shape[1] and np.isfinite(values).all():
        return _fit_in_span(values, share, start)
    shrink = functools.partial(_shrink, share, values.shape[1])
    return fit_t_from(start._replace(form=shrink(start.scatter)), values, shrink)


def _shrink(
    share: float, n_assets: int, scatter: Float[np.ndarray, "size size"]
) -> Float[np.ndarray, "size size"]:
    """(1 − a) S + a (tr S / D) I, in coordinates outside of which S is 0."""
    level = np.trace(scatter) / n_assets
    return (1 - share) * scatter + share * level * np.eye(len(scatter))


def _fit_in_span(
    values: Float[np.ndarray, "date asset"], share: float, start: Elliptical
) -> Elliptical:
    """The same where dates are fewer than assets, in coordinates of what they span.

    Beyond it S is 0 and so its shrunk form a multiple of I, whichever way the axes are turned.
    """
    n_assets = values.shape[1]
    centre = values.mean(axis=0)
    axes = np.linalg.qr((values - centre)[1:].T)[0]
    rows = (values - centre) @ axes
    shrink = functools.partial(_shrink, share, n_assets)

    def beyond(scatter: Float[np.ndarray, "size size"]) -> float:
        """The variance a tr S / D of a direction outside, from the shrunk form's own trace."""
        inside = (1 - share) * n_assets + share * len(scatter)
        return share * np.trace(scatter) / inside

    def see(
        rows: Float[np.ndarray, "date size"],
        mean: Float[np.ndarray, " size"],
        scatter: Float[np.ndarray, "size size"],
    ) -> Conditional:
        found, n_outside = conditional(rows, mean, scatter), n_assets - len(mean)
        return found._replace(
            counts=found.counts + n_outside,
            log_determinants=found.log_determinants + n_outside * np.log(beyond(scatter)),
        )

    mean, scatter = (start.mean - centre) @ axes, axes.T @ start.scatter @ axes
    first = Elliptical.without_factors(mean, shrink(scatter), start.df)
    law = fit_t_from(first, rows, shrink, see)
    outside = beyond(law.scatter)
    inside = law.scatter - outside * np.eye(len(law.mean))
    whole = axes @ inside @ axes.T + outside * np.eye(n_assets)
    return Elliptical.without_factors(centre + axes @ law.mean, whole, law.df)
