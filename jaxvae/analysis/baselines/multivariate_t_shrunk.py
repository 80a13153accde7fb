"""The multivariate Student-t with a shrunk scale matrix."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.baselines.elliptical import Elliptical, regularly
from jaxvae.analysis.baselines.multivariate_t import fit_t_from
from jaxvae.analysis.incomplete import expected_moments, independent

SHRINKAGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def fit_multivariate_t_shrunk(
    values: Float[np.ndarray, "date asset"], n_train: int, shares: Sequence[float] = SHRINKAGES
) -> Elliptical:
    """Multivariate Student-t whose scale matrix is shrunk towards the identity; no factors.

        S ← (1 − a) S + a (tr S / D) I    in each round of `fit_t_from`

    The share a is the one of `shares` under which a fit on the training rows makes the validation
    rows likeliest; the law is then fitted anew on all rows. It needs no more dates than assets.

    Args:
        values: Returns of training and validation, in this order; NaN marks a missing cell.
        n_train: How many of the rows are for training.
        shares: From 0 to 1.

    Raises:
        DataError: A scale matrix on the way is singular given the cells observed.

    Source: Ollila and Tyler (2014), "Regularized M-estimators of scatter matrix".
    """
    train, validation = values[:n_train], values[n_train:]
    law, laws = Elliptical.without_factors(*expected_moments(independent(train))), []
    with regularly(values):
        for share in shares:
            # The last share's law is near: a few rounds lead from it.
            law = _fit(train, share, law)
            laws.append(law)
        scores = [law.log_likelihood(validation).mean() for law in laws]
        best = int(np.argmax(scores))
        return _fit(values, shares[best], laws[best])


def _fit(values: Float[np.ndarray, "date asset"], share: float, start: Elliptical) -> Elliptical:
    def shrink(scatter: Float[np.ndarray, "asset asset"]) -> Float[np.ndarray, "asset asset"]:
        level = np.trace(scatter) / len(scatter)
        return (1 - share) * scatter + share * level * np.eye(len(scatter))

    return fit_t_from(start._replace(scatter=shrink(start.scatter)), values, shrink)
