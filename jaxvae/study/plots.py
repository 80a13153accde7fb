"""The report's figures, one by one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from jaxvae.errors import did_you_mean
from jaxvae.report.figures import drawings
from jaxvae.report.results import DrawFigure, StudyResults

# What a figure is called here, where the report's file has another name.
NAMES = {"factor_series": "factors", "comparison": "scores"}


class Plots:
    """The figures that a study has the tables and arrays for: called, it lists their names; each is
    a method that returns a Matplotlib `Figure`, drawn as in the report.

    Args:
        study: whose figures they are.
    """

    agreement: Callable[[], Figure]
    matched_factors: Callable[[], Figure]
    factors: Callable[[], Figure]
    loadings: Callable[[], Figure]
    n_factors: Callable[[], Figure]
    scores: Callable[[], Figure]
    score_over_beta: Callable[[], Figure]
    training_curves: Callable[[], Figure]
    reconstruction: Callable[[], Figure]
    generated: Callable[[], Figure]
    risk: Callable[[], Figure]
    candidates: Callable[[], Figure]

    def __init__(self, study: StudyResults) -> None:
        self._study = study

    def __call__(self) -> list[str]:
        """The names of the figures."""
        return [*self._drawings()]

    def _figure(self, name: str) -> Callable[[], Figure]:
        if name.startswith("_"):
            raise AttributeError(name)
        known = self._drawings()
        if name not in known:
            hint = did_you_mean(name, known)
            raise AttributeError(
                f"the study has no figure {name!r}; it has {', '.join(known)}{hint}"
            )

        def draw() -> Figure:
            return known[name](self._study)

        draw.__name__, draw.__doc__ = name, known[name].__doc__
        return draw

    if not TYPE_CHECKING:  # which know the figures by their names
        __getattr__ = _figure

    def __dir__(self) -> list[str]:
        return self()

    def __repr__(self) -> str:
        return f"figures: {', '.join(self())}"

    def _drawings(self) -> dict[str, DrawFigure]:
        found = drawings(self._study)
        return {NAMES.get(name, name): drawing for name, drawing in found.items()}
