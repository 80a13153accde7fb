"""The lasso with its penalty chosen by cross-validation, exactly, from second moments alone.

Between a few knots the solution is linear in the penalty (Osborne et al. 2000; Efron et al. 2004),
so a walk from knot to knot gives it at every penalty, without iterating to a tolerance. All
regressions that one answer needs, one a fold and target, walk together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

N_FOLDS = 5
N_PENALTIES = 100
SMALLEST_PENALTY = 1e-3  # as a share of the one below which the first regressor enters
KNOTS_A_REGRESSOR = 10  # a regressor enters once and may leave and return a few times
CLOSES = 1 - 1e-9


class _Moments(NamedTuple):
    """Means of x xᵀ, y x and y² over some rows."""

    gram: Float[np.ndarray, "*fold regressor regressor"]
    cross: Float[np.ndarray, "*fold target regressor"]
    square: Float[np.ndarray, "*fold target"]


class _Walk(NamedTuple):
    """Where the paths stand; `active` are the regressors in use."""

    penalty: Float[np.ndarray, " problem"]
    coefficients: Float[np.ndarray, "problem regressor"]
    active: Bool[np.ndarray, "problem regressor"]


def cross_validated_lasso(
    regressors: Float[np.ndarray, "date regressor"], targets: Float[np.ndarray, "date target"]
) -> Float[np.ndarray, "regressor target"]:
    """Coefficients of each target's own lasso, its penalty chosen by cross-validation.

        minimise (1 / 2n) ‖y − X b‖² + α ‖b‖₁

    over 100 penalties α, even in their logarithm, from the largest that matters to a thousandth of
    it. The one chosen has the least squared error over five blocks of consecutive dates, each
    predicted from the other four. Of regressors that repeat each other one gets all the weight.

    regressors, targets: centred, usually standardised; five dates or more.

    Source: Tibshirani (1996), "Regression shrinkage and selection via the lasso"; folds and
    penalties are those of scikit-learn's `LassoCV`, which iterates.
    """
    whole = _moments(regressors, targets)
    largest = np.abs(whole.cross).max(axis=1)
    penalties = largest[:, None] * np.geomspace(1.0, SMALLEST_PENALTY, N_PENALTIES)
    best = _held_out_errors(regressors, targets, penalties).argmin(axis=1)
    chosen = np.take_along_axis(penalties, best[:, None], axis=1)
    gram = np.broadcast_to(whole.gram, (len(best), *whole.gram.shape))
    return lasso_path(gram, whole.cross, chosen)[:, 0].T


def lasso_path(
    gram: Float[np.ndarray, "problem regressor regressor"],
    cross: Float[np.ndarray, "problem regressor"],
    penalties: Float[np.ndarray, "problem penalty"],
) -> Float[np.ndarray, "problem penalty regressor"]:
    """Lasso coefficients of several problems at given penalties, in any order.

    At penalty α the regressors in use have |xᵀ(y − X b)| / n = α and all others less. As α falls,
    the former's coefficients move along G⁻¹ s, s the signs of those correlations, until another
    regressor reaches α or a coefficient 0: a knot.

    gram, cross: means of x xᵀ and of y x.
    """
    walk = _start(cross)
    end = penalties.min(axis=1)
    found = np.zeros((*penalties.shape, cross.shape[1]))
    for _ in range(KNOTS_A_REGRESSOR * cross.shape[1]):
        residual = cross - np.einsum("pij,pj->pi", gram, walk.coefficients)
        direction = _direction(gram, residual, walk.active)
        length, knot = _next_knot(gram, residual, direction, walk, end)
        past = walk.penalty[:, None] - penalties
        row, column = np.nonzero((past >= 0) & (past <= length[:, None]))
        beyond = past[row, column][:, None] * direction[row]
        found[row, column] = walk.coefficients[row] + beyond
        walk = _step(walk, direction, length, knot)
        if (walk.penalty <= end).all():
            break
    return found


def _moments(
    x: Float[np.ndarray, "date regressor"], y: Float[np.ndarray, "date target"]
) -> _Moments:
    return _Moments(x.T @ x / len(x), y.T @ x / len(x), (y**2).mean(axis=0))


def _held_out_errors(
    regressors: Float[np.ndarray, "date regressor"],
    targets: Float[np.ndarray, "date target"],
    penalties: Float[np.ndarray, "target penalty"],
) -> Float[np.ndarray, "target penalty"]:
    """Mean squared error over held-out blocks; intercepts are those of the rows learned on."""
    learned, held = [], []
    for rows in np.array_split(np.arange(len(targets)), N_FOLDS):
        inside = np.ones(len(targets), dtype=bool)
        inside[rows] = False
        x, y = regressors - regressors[inside].mean(0), targets - targets[inside].mean(0)
        learned.append(_moments(x[inside], y[inside]))
        held.append(_moments(x[rows], y[rows]))
    inner, outer = _stacked(learned), _stacked(held)
    n_folds, n_targets, n_regressors = inner.cross.shape
    path = lasso_path(
        np.repeat(inner.gram, n_targets, axis=0),
        inner.cross.reshape(-1, n_regressors),
        np.tile(penalties, (n_folds, 1)),
    ).reshape(n_folds, n_targets, -1, n_regressors)
    linear = (path * outer.cross[:, :, None]).sum(axis=3)
    quadratic = (path @ outer.gram[:, None] * path).sum(axis=3)
    return (outer.square[:, :, None] - 2 * linear + quadratic).mean(axis=0)


def _stacked(folds: Sequence[_Moments]) -> _Moments:
    return _Moments(*(np.stack(field) for field in zip(*folds, strict=True)))


def _start(cross: Float[np.ndarray, "problem regressor"]) -> _Walk:
    """At the penalty where the first regressor enters; nothing enters where all of y x is 0."""
    strength = np.abs(cross)
    first = np.arange(cross.shape[1]) == strength.argmax(axis=1)[:, None]
    return _Walk(strength.max(axis=1), np.zeros_like(cross), first & (strength > 0))


def _direction(
    gram: Float[np.ndarray, "problem regressor regressor"],
    residual: Float[np.ndarray, "problem regressor"],
    active: Bool[np.ndarray, "problem regressor"],
) -> Float[np.ndarray, "problem regressor"]:
    """G⁻¹ s over the regressors in use, 0 for the others, which the solved system holds apart."""
    both = active[:, :, None] & active[:, None, :]
    system = np.where(both, gram, np.eye(active.shape[1]))
    signs = np.where(active, np.sign(residual), 0.0)
    return np.linalg.solve(system, signs[:, :, None])[:, :, 0]


def _next_knot(
    gram: Float[np.ndarray, "problem regressor regressor"],
    residual: Float[np.ndarray, "problem regressor"],
    direction: Float[np.ndarray, "problem regressor"],
    walk: _Walk,
    end: Float[np.ndarray, " problem"],
) -> tuple[Float[np.ndarray, " problem"], Int[np.ndarray, " problem"]]:
    """How far the penalty may fall, and which regressor then enters or leaves; −1 where none.

    An idle regressor enters where its slack α − |x r| / n closes. The slack of one that has just
    left opens, and that of one which the active ones span keeps its share of α: neither enters.
    """
    slope = np.einsum("pij,pj->pi", gram, direction)
    level = walk.penalty[:, None]
    enter = [
        _ratio(level - sign * residual, 1 - sign * slope, ~walk.active & (sign * slope < CLOSES))
        for sign in (1, -1)
    ]
    towards_zero = walk.active & (walk.coefficients * direction < 0)
    leave = _ratio(-walk.coefficients, direction, towards_zero)
    lengths = np.minimum(np.minimum(*enter), leave)
    left = np.maximum(walk.penalty - end, 0.0)
    knot = np.where(lengths.min(axis=1) < left, lengths.argmin(axis=1), -1)
    return np.minimum(lengths.min(axis=1), left), knot


def _ratio(
    above: Float[np.ndarray, "problem regressor"],
    below: Float[np.ndarray, "problem regressor"],
    where: Bool[np.ndarray, "problem regressor"],
) -> Float[np.ndarray, "problem regressor"]:
    """Their quotient, not below 0; infinite elsewhere."""
    return np.where(where, np.maximum(above / np.where(where, below, 1.0), 0.0), np.inf)


def _step(
    walk: _Walk,
    direction: Float[np.ndarray, "problem regressor"],
    length: Float[np.ndarray, " problem"],
    knot: Int[np.ndarray, " problem"],
) -> _Walk:
    """The walk at its next knot, where one regressor changes sides."""
    turned = np.arange(direction.shape[1]) == knot[:, None]
    leaves = turned & walk.active
    moved = walk.coefficients + length[:, None] * direction
    return _Walk(
        penalty=walk.penalty - length,
        coefficients=np.where(leaves, 0.0, moved),
        active=walk.active ^ turned,
    )
