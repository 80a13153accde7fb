"""GARCH an asset, dynamic conditional correlations of a Student-t copula: one step ahead."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, stdtrit

from jaxvae.analysis.incomplete import elliptical_log_density
from jaxvae.baselines.averages import averages_before, distances_of_dates
from jaxvae.baselines.elliptical import refusing_singular
from jaxvae.baselines.garch import Garch, Innovations, Margins
from jaxvae.baselines.law import Law

# Of the search: where it starts (a = .018, b = .964, ν = 12), how wide, how far parameters may go.
START, STEP, FURTHEST = (4.0, -4.0, 2.3), 0.4, 12.0
TOLERANCES = {"xatol": 0.05, "fatol": 5e-4}


@dataclass(frozen=True)
class GarchCopula(Law):
    """Each date's law given the dates before it: GARCH margins F joined by a Student-t copula,

        p(x_t) = Π_a f_a(x_ta) · t_ν(q_t; 0, R_t) / Π_a t_ν(q_ta),    q_ta = T_ν⁻¹(F_a(x_ta))
        Q_{t+1} = (1 − a − b) Q̄ + a q_t q_tᵀ + b Q_t,    R_t the correlations of Q_t

    with t_ν and T_ν the density and the distribution function of a standard Student-t. a = b = 0
    is a constant correlation (CCC).

    Attributes:
        margins: GARCH of each asset.
        target: Q̄, and Q of the first date.
        reaction: a.
        decay: b; a + b < 1.
        df: ν of the copula.
    """

    margins: Garch
    target: Float[np.ndarray, "asset asset"]
    reaction: float
    decay: float
    df: float

    def reconstruct(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Float[np.ndarray, "date asset"]:
        """The margins' means, whatever the values.

        Args:
            values: as in `log_likelihood`.
        """
        return np.zeros_like(values) + self.margins.mean

    def log_likelihood(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " date"]:
        """log p(x_t | dates before) in nats.

        Args:
            values: complete rows in standard units, the first of them the first fitted.
        """
        found = self.margins.innovations(values)
        return found.log_density.sum(axis=1) + self.log_copula(copula_quantiles(found, self.df))

    def log_copula(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " date"]:
        """The copula's part of the log density, nats.

        Args:
            values: q, the first date's first.
        """
        gaps, log_determinants = distances_of_dates(self.correlations(values), values)
        joint = elliptical_log_density(gaps, log_determinants, values.shape[1], self.df)
        return joint - stats.t.logpdf(values, self.df).sum(axis=1)

    def correlations(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Iterator[Float[np.ndarray, "part asset asset"]]:
        """R_t of each date, from the dates before it, in chunks of consecutive dates.

        Q is an exponentially weighted average of products, shrunk towards Q̄.

        Args:
            values: as in `log_copula`.
        """
        share = self.reaction / (1 - self.decay)
        for average in averages_before(values, self.decay, self.target):
            moments = share * average + (1 - share) * self.target
            deviations = np.sqrt(np.diagonal(moments, axis1=1, axis2=2))
            yield moments / (deviations[:, :, None] * deviations[:, None, :])


def copula_quantiles(found: Innovations, df: float) -> Float[np.ndarray, "date asset"]:
    """q = T_ν⁻¹(F(x)), by the smaller tail, of which no digits are lost.

    Args:
        found: from `Garch.innovations`.
        df: ν of the copula.
    """
    return -np.sign(found.values) * stdtrit(df, found.tails)


def fit_garch_copula(
    values: Float[np.ndarray, "date asset"],
    n_train: int,
    dynamic: bool = True,
    margins: Margins | None = None,
) -> GarchCopula:
    """GARCH with Student-t innovations an asset, joined by a Student-t copula whose correlations
    move, by maximum likelihood in two steps: the margins, then a, b and ν of the copula, with Q̄ the
    mean of q qᵀ. GARCH or GJR, whichever makes the validation rows likelier where all is fitted on
    the training rows.

    Args:
        values: complete returns of training and validation, in this order.
        n_train: how many of the rows are for training.
        dynamic: whether a and b are free, else 0: constant correlations (Bollerslev 1990,
            "Modelling the coherence in short-run nominal exchange rates").
        margins: of the same rows, by default fitted here.

    Raises:
        MissingExtraError: `arch` is not installed.
        DataError: correlations are singular, or a margin's likelihood has no maximum.

    Source: Engle (2002), "Dynamic conditional correlation"; for the copula Patton (2006),
    "Modelling asymmetric exchange rate dependence".
    """
    margins = margins or Margins(values, n_train)
    train, likelihoods = values[:n_train], []
    start: Sequence[float] = START if dynamic else START[2:]
    with refusing_singular(values):
        for of_training in margins.of_training:
            law, start = fit_copula(of_training, train, start)
            likelihoods.append(law.log_likelihood(values)[n_train:].mean())
        chosen = margins.free if likelihoods[1] > likelihoods[0] else margins.plain
        return fit_copula(chosen, values, start)[0]


def fit_copula(
    margins: Garch, values: Float[np.ndarray, "date asset"], start: Sequence[float] = START
) -> tuple[GarchCopula, Sequence[float]]:
    """The likeliest copula of margins that stay.

    Args:
        margins: fitted to the values.
        values: complete returns.
        start: of the search (`_parameters`): three numbers, or for a constant correlation the last.

    Returns:
        The law, and where the search ended.

    Raises:
        LinAlgError: correlations are singular.
    """
    found, places = margins.innovations(values), np.array(start)

    def at(point: np.ndarray) -> tuple[GarchCopula, Float[np.ndarray, "date asset"]]:
        reaction, decay, df = _parameters(point)
        q = copula_quantiles(found, df)
        return GarchCopula(margins, q.T @ q / len(q), reaction, decay, df), q

    def loss(point: np.ndarray) -> float:
        law, q = at(point)
        return -float(law.log_copula(q).mean())

    corners = places + STEP * np.vstack([np.zeros(len(places)), np.eye(len(places))])
    options = {**TOLERANCES, "initial_simplex": corners}
    best = minimize(loss, places, method="Nelder-Mead", options=options).x
    return at(best)[0], best.tolist()


def _parameters(point: np.ndarray) -> tuple[float, float, float]:
    """a, b and ν from the logits of a + b and of a / (a + b), and from ln (ν − 2); a = b = 0 where
    the last stands alone."""
    *logits, log_df = np.clip(point, -FURTHEST, FURTHEST)
    total, share = expit(logits) if logits else (0.0, 0.0)
    return float(total * share), float(total * (1 - share)), float(2 + np.exp(log_df))
