"""How a command of training ends: well, with a line that says what is wrong, or by Ctrl-C."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from lfm2audio_mlx.errors import LfmError

__all__ = ["ended", "out_of_reach"]


def ended(name: str, work: Callable[[], bool | None], stopped: str = "") -> int:
    """Do the work; the exit code. False, which it may return, is a failure that it has told of;
    `stopped` is said after Ctrl-C."""
    try:
        return 1 if work() is False else 0
    except LfmError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if stopped:
            print(f"\n{name}: {stopped}", file=sys.stderr)
        return 130


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Processes that are started in it, and what starts others for them, never get the terminal's
    Ctrl-C: it is for this one, which ends them. Pressed meanwhile it counts afterwards, for a
    process half started would have to tell of it.

    Raises:
        KeyboardInterrupt: it was pressed.
    """
    pressed: list[int] = []
    # Blocked, it would come all the same by another thread, such as a library may have begun.
    usual = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        resource_tracker.ensure_running()  # multiprocessing's first, which then unblocks Ctrl-C
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt
