"""GARCH(1,1) with Student-t innovations, asset by asset: fitted by `arch`, filtered here."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.signal import lfilter
from scipy.special import stdtr

from jaxvae.errors import DataError, import_extra

# The variance before the first date is a mean of the first squares, weighted as `arch` does.
BACKCAST_DATES, BACKCAST_DECAY = 75, 0.94
INWARD = 0.999  # of α and β, so that a start lies within its bounds
LEVERAGE = 3  # the place of γ


class Innovations(NamedTuple):
    """Returns under each asset's own law, given the dates before.

    Attributes:
        variances: σ²_t.
        log_density: ln p(x_t | dates before), nats.
        values: standardised residuals over the scale of their Student-t, which is then standard.
        tails: probability of what lies further out on the same side.
    """

    variances: Float[np.ndarray, "date asset"]
    log_density: Float[np.ndarray, "date asset"]
    values: Float[np.ndarray, "date asset"]
    tails: Float[np.ndarray, "date asset"]


class Garch(NamedTuple):
    """Each asset's law given its own past, x_t = μ + σ_t ε_t with ε a Student-t of variance 1:

        σ²_{t+1} = ω + (α + γ 1[e_t < 0]) e_t² + β σ²_t,    e_t = x_t − μ

    GARCH(1,1) where γ = 0, else that of Glosten, Jagannathan and Runkle (GJR).

    Attributes:
        mean: μ.
        constant: ω.
        reaction: α.
        leverage: γ.
        decay: β.
        df: degrees of freedom ν > 2 of ε.
        first: σ² of the first date.
    """

    mean: Float[np.ndarray, " asset"]
    constant: Float[np.ndarray, " asset"]
    reaction: Float[np.ndarray, " asset"]
    leverage: Float[np.ndarray, " asset"]
    decay: Float[np.ndarray, " asset"]
    df: Float[np.ndarray, " asset"]
    first: Float[np.ndarray, " asset"]

    def innovations(self, values: Float[np.ndarray, "date asset"]) -> Innovations:
        """Returns under the law, one step ahead.

        Args:
            values: complete rows, the first of them the first fitted.
        """
        errors, df = values - self.mean, self.df
        push = self.constant + (self.reaction + self.leverage * (errors < 0)) * errors**2
        variances = np.empty_like(errors)
        variances[0] = self.first
        for asset, beta in enumerate(self.decay):
            start = [beta * self.first[asset]]
            variances[1:, asset], _ = lfilter([1.0], [1.0, -beta], push[:-1, asset], zi=start)
        scales = np.sqrt(variances * (df - 2) / df)
        standard = errors / scales
        log_density = stats.t.logpdf(standard, df) - np.log(scales)
        return Innovations(variances, log_density, standard, stdtr(df, -np.abs(standard)))


def fit_garch(values: Float[np.ndarray, "date asset"]) -> Garch:
    """GARCH(1,1) of each asset by maximum likelihood.

    The first variance is ω + (α + β) times a weighted mean of the first 75 squares, which forecasts
    of dates among them therefore know.

    Args:
        values: complete returns, of variances near 1.

    Raises:
        MissingExtraError: `arch` is not installed.
        DataError: a fit does not end in numbers.

    Source: Bollerslev (1987), "A conditionally heteroskedastic time series model for speculative
    prices and rates of return".
    """
    found = np.array([_maximise(column, 0, None) for column in values.T])
    if not np.isfinite(found).all():
        raise DataError("a likelihood has no maximum: look for returns that hardly move")
    return _of_parameters(np.insert(found, LEVERAGE, 0.0, axis=1), values)


def fit_gjr(values: Float[np.ndarray, "date asset"], plain: Garch) -> Garch:
    """GJR of each asset by maximum likelihood, or its GARCH where the search finds nothing better.

    Args:
        values: complete returns, of variances near 1.
        plain: GARCH(1,1) of the same returns, from which the search starts: `arch`'s own choice of
            a start can lead to a maximum far below.

    Raises:
        MissingExtraError: `arch` is not installed.

    Source: Glosten, Jagannathan and Runkle (1993), "On the relation between the expected value and
    the volatility of the nominal excess return on stocks".
    """
    starts = np.array(plain[:-1]).T * [1.0, 1.0, INWARD, 1.0, INWARD, 1.0]
    pairs = zip(values.T, starts, strict=True)
    free = _of_parameters(
        np.array([_maximise(column, 1, start) for column, start in pairs]), values
    )
    with np.errstate(all="ignore"):
        higher, height = (one.innovations(values).log_density.sum(axis=0) for one in (free, plain))
    return Garch(
        *(np.where(higher > height, new, old) for new, old in zip(free, plain, strict=True))
    )


@dataclass(frozen=True)
class Margins:
    """GARCH and GJR of returns, of the training rows and of all, each fitted when first asked for.

    Attributes:
        values, n_train: as in `fit_garch_copula`.

    Raises:
        MissingExtraError: `arch` is not installed.
    """

    values: Float[np.ndarray, "date asset"]
    n_train: int

    @cached_property
    def of_training(self) -> tuple[Garch, Garch]:
        """GARCH and GJR of the training rows."""
        plain = fit_garch(self.values[: self.n_train])
        return plain, fit_gjr(self.values[: self.n_train], plain)

    @cached_property
    def plain(self) -> Garch:
        """GARCH(1,1) of all rows."""
        return fit_garch(self.values)

    @cached_property
    def free(self) -> Garch:
        """GJR of all rows."""
        return fit_gjr(self.values, self.plain)


def _of_parameters(
    parameters: Float[np.ndarray, "asset 6"], values: Float[np.ndarray, "date asset"]
) -> Garch:
    mean, constant, reaction, leverage, decay, df = parameters.T
    weights = BACKCAST_DECAY ** np.arange(min(BACKCAST_DATES, len(values)))
    start = (values - values.mean(axis=0))[: len(weights)]
    before = weights @ start**2 / weights.sum()
    first = constant + (reaction + leverage / 2 + decay) * before
    return Garch(mean, constant, reaction, leverage, decay, df, first)


def _maximise(
    column: Float[np.ndarray, " date"], n_leverage: int, start: np.ndarray | None
) -> np.ndarray:
    """The parameters of one asset that `arch` finds, in the order of `Garch`."""
    model = import_extra("arch", "garch").arch_model(
        column, mean="Constant", vol="GARCH", p=1, o=n_leverage, q=1, dist="t", rescale=False
    )
    # It warns, by filters that it sets itself, where a search ends early or at a bound; the
    # parameters serve all the same, as good as their likelihood is.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = model.fit(disp="off", show_warning=False, starting_values=start)
    return np.asarray(found.params, np.float64)
