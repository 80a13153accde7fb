"""Ctrl-C and SIGTERM, and what is said on standard error."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def say(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)


def ignore_signals() -> None:
    """Ctrl-C and SIGTERM do nothing from here on: all is written."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_as_before() -> Iterator[None]:
    """Who is told of Ctrl-C and SIGTERM is afterwards who was told before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


class Interrupts:
    """Ctrl-C and SIGTERM end a run. While it is gentle the first is remembered and taken up at the
    next edge, where the run can be kept; a second one aborts."""

    def __init__(self) -> None:
        self.seen = self.gentle = False
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise KeyboardInterrupt where one was seen."""
        if self.seen:
            raise KeyboardInterrupt

    @contextmanager
    def gently(self, folder: Path, how_to_go_on: str) -> Iterator[None]:
        """Interrupts wait for `check`; one that leaves the folder says how to go on."""
        self.gentle = True
        try:
            yield
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(how_to_go_on if folder.exists() else "") from interrupt
        finally:
            self.gentle = False

    def _handle(self, number: int, frame: Any) -> None:
        if self.seen:
            os._exit(INTERRUPTED)
        self.seen = True
        if not self.gentle:
            raise KeyboardInterrupt
        say("jaxvae: stopping at the next edge; once more to abort at once")
