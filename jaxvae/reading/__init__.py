"""The door for panels: a file or a DataFrame in, a checked panel of returns out.

`frames` leads; `files` reads a table from disk, `layout` brings it to dates × tickers, `cells`
turns text into dates, tickers and numbers, and `checks` refuses what cannot be a panel of returns.
"""

from jaxvae.reading.frames import KINDS, MISSING_POLICIES, as_panel, panel_from_frame, read_panel

__all__ = ["KINDS", "MISSING_POLICIES", "as_panel", "panel_from_frame", "read_panel"]
