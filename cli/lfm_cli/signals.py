"""ctrl-C where it must not come at any moment: it is noted, and acted on when that is due."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stopped_by_interrupt", "uninterrupted"]


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_by_interrupt() -> Generator[threading.Event]:
    """An event that ctrl-C sets, or the wish to end, so that what was heard can be finished; a
    second one interrupts as ever."""
    stop = threading.Event()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(number: int, frame: FrameType | None) -> None:
        stop.set()
        restore()

    wanted = [number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, first) for number in wanted}
    try:
        yield stop
    finally:
        restore()


@contextmanager
def uninterrupted() -> Generator[None]:
    """What is done here is done to its end; ctrl-C and the wish to end come after it."""
    held: list[int] = []
    before = {n: signal.signal(n, lambda n, frame: held.append(n)) for n in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])
