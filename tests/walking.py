"""A small walk that tests share, so that its programs are compiled once."""

from dataclasses import replace

from jaxvae.data.synthetic import linear_panel
from jaxvae.walk.config import WalkConfig

PANEL, _ = linear_panel(3, n_dates=120, n_assets=8, n_factors=2, n_sectors=2)
CONFIG = WalkConfig(
    window=60, step=12, seeds=2, betas=(1.0,), n_factors=2, epochs=100, baseline_factors=2
)


def altered(first, panel=PANEL, size=0.5):
    """The panel with other returns, so many times as large, from a date on."""
    values = panel.values.copy()
    values[first:] = size * values[first:][::-1] + 0.001
    return replace(panel, values=values)
