"""Panels of returns: read and checked, named, synthetic; what is known of their dates."""

from jaxvae.data.frames import KINDS, as_panel, panel_from_frame, read_panel
from jaxvae.data.returns import MISSING_POLICIES

__all__ = ["KINDS", "MISSING_POLICIES", "as_panel", "panel_from_frame", "read_panel"]
