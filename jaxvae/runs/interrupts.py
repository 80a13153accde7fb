"""Ctrl-C and SIGTERM, heard at any moment, and what is said on standard error."""

import contextvars
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS_BETWEEN_LOOKS = 0.05
# From a signal until the work is given up where it does not come to an edge.
SECONDS_TO_STOP = 1.0
SHOW_CURSOR = "\x1b[?25h"


def say(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def signals_as_before() -> Iterator[None]:
    """Whatever handled Ctrl-C and SIGTERM before handles them afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


class Interrupts:
    """Ctrl-C and SIGTERM end what `call` works on.

    how_to_go_on: what an interrupted user reads. over: all is written, and signals do nothing.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self.over = False
        self.how_to_go_on: Callable[[], str] = lambda: "nothing was written"
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise KeyboardInterrupt where a signal was seen."""
        if self.since is not None:
            raise KeyboardInterrupt

    def call(self, work: Callable[[], Any]) -> None:
        """Work in a thread of its own, while the main one listens.

        Python hears signals in the main thread alone, and not while that is inside XLA, which
        compiles a program, or runs it, for minutes. Work that does not come to a `check` in time is
        left to itself: the process must end then, and what is on disk is what is kept.

        Raises what the work raises, and KeyboardInterrupt, with how to go on, where a signal ended
        it.
        """
        errors = []

        def run() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(run,), daemon=True)
        thread.start()
        try:
            while thread.is_alive() and not self._is_late():
                thread.join(SECONDS_BETWEEN_LOOKS)
            if thread.is_alive():
                raise KeyboardInterrupt
            if errors:
                raise errors[0]
        except KeyboardInterrupt as interrupt:
            if sys.stderr.isatty():
                sys.stderr.write(SHOW_CURSOR)  # Bars of progress hide it.
            raise KeyboardInterrupt(self.how_to_go_on()) from interrupt

    def _is_late(self) -> bool:
        return self.since is not None and time.monotonic() - self.since > SECONDS_TO_STOP

    def _handle(self, number: int, frame: Any) -> None:
        if self.since is None and not self.over:
            self.since = time.monotonic()
