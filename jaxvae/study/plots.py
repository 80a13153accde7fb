"""The report's figures, one by one."""

from typing import Any

from matplotlib.figure import Figure

from jaxvae.report.candidates import candidates_figure, choice_of
from jaxvae.report.factor_figures import factor_drawings
from jaxvae.report.holdings import risk_figure
from jaxvae.report.score_figures import score_drawings

# What a figure is called here, where the report's file has another name.
NAMES = {"factor_series": "factors", "comparison": "scores"}


class Plots:
    """The figures that a study has the tables and arrays for: called, it lists their names; each is
    a method that returns a Matplotlib `Figure`, drawn as in the report.

    Args:
        study: whose figures they are.
    """

    def __init__(self, study: Any) -> None:
        self._study = study

    def __call__(self) -> list[str]:
        """The names of the figures."""
        return [*self._drawings()]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        drawings = self._drawings()
        if name not in drawings:
            raise AttributeError(f"the study has no figure {name!r}; it has {', '.join(drawings)}")

        def drawn() -> Figure:
            figure: Figure = drawings[name](self._study)
            return figure

        return drawn

    def __dir__(self) -> list[str]:
        return self()

    def __repr__(self) -> str:
        return f"figures: {', '.join(self())}"

    def _drawings(self) -> dict[str, Any]:
        found: dict[str, Any] = factor_drawings(self._study) | score_drawings(self._study)
        found["risk"] = risk_figure
        if choice_of(self._study) is not None:
            found["candidates"] = candidates_figure
        return {NAMES.get(name, name): drawing for name, drawing in found.items()}
