"""Weighted draws: their weights, how many they are worth, and equal ones picked from them."""

import numpy as np
from jaxtyping import Float, Int


def normalised_weights(log_weights: Float[np.ndarray, "..."]) -> Float[np.ndarray, " draw"]:
    """Weights of all draws, summing to 1, from their logarithms up to a constant."""
    flat = log_weights.ravel()
    weights = np.exp(flat - flat.max())
    return weights / weights.sum()


def effective_sample_size(weights: Float[np.ndarray, " draw"]) -> float:
    """(Σw)²/Σw², between 1 and the number of draws (Kong 1992)."""
    return float(weights.sum() ** 2 / np.sum(weights**2))


def systematic_resample(
    rng: np.random.Generator, weights: Float[np.ndarray, " draw"], number: int
) -> Int[np.ndarray, " place"]:
    """Draws for so many places, in random order, each as often as its weight says, rounded up or
    down (Kitagawa 1996); the weights sum to 1."""
    points = (np.arange(number) + rng.uniform()) / number
    # Without the last: rounding may leave its sum below the last point.
    picked = np.searchsorted(np.cumsum(weights)[:-1], points, side="right")
    return rng.permutation(picked)
