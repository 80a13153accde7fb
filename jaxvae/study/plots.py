"""The report's figures, one by one."""

from typing import Any

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

    def __init__(self, study: StudyResults) -> None:
        self._study = study

    def __call__(self) -> list[str]:
        """The names of the figures."""
        return [*self._drawings()]

    def __getattr__(self, name: str) -> Any:
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

    def __dir__(self) -> list[str]:
        return self()

    def __repr__(self) -> str:
        return f"figures: {', '.join(self())}"

    def _drawings(self) -> dict[str, DrawFigure]:
        found = drawings(self._study)
        return {NAMES.get(name, name): drawing for name, drawing in found.items()}
