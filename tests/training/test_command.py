"""How a command of training ends."""

import os
import signal
import threading
import time

import pytest

from lfm_train.command import out_of_reach


def test_ctrl_c_waits_for_what_is_begun():
    """Also where another thread gets it, as those that libraries begin do."""
    over, begun = threading.Event(), False
    usual = signal.getsignal(signal.SIGINT)
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt), out_of_reach():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            begun = True
    finally:
        over.set()
        other.join()
    assert begun and signal.getsignal(signal.SIGINT) is usual


def test_nothing_is_made_of_a_ctrl_c_that_was_not_pressed():
    with out_of_reach():
        pass
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set[int]())
