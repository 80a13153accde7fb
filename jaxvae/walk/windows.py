"""The windows of a walk: dates that members train on, and the dates after them."""

from typing import NamedTuple


class Span(NamedTuple):
    """A window trains on the dates [start, stop) and is judged on [stop, until)."""

    start: int
    stop: int
    until: int


def cut_windows(n_dates: int, window: int, step: int, expanding: bool) -> list[Span]:
    """Windows that end every `step` dates and are followed by a whole step: what is left over at
    the end is not judged. Expanding ones all begin with the first date."""
    stops = range(window, n_dates - step + 1, step)
    return [Span(0 if expanding else stop - window, stop, stop + step) for stop in stops]
