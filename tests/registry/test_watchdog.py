"""A plugin that hangs while it loads is left out; one that takes its time and gets on is not."""

import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

from mixzoo.registry.watchdog import watched

HANGS = {
    "a sleep": lambda: time.sleep(60),
    "a loop": lambda: loop(),
    "a loop that catches every Exception": lambda: loop(Exception),
    "a lock that nobody gives back": lambda: threading.Semaphore(0).acquire(),
    "waiting for another thread": lambda: threading.Event().wait(60),
}


def loop(*catch):
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with suppress(*catch):
            sum(range(1000))


@pytest.mark.parametrize("what", HANGS)
def test_what_hangs_is_given_up_and_the_timer_is_as_it_was(what):
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="still loading after 1 s without importing anything"), watched(1):
        HANGS[what]()
    assert time.monotonic() - began < 30
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)) == before


def test_importing_one_module_after_another_is_no_hang(monkeypatch):
    with watched(2):
        for i in range(8):
            monkeypatch.setitem(sys.modules, f"imported_{i}", None)
            time.sleep(0.5)


def test_a_thread_other_than_the_main_one_is_not_watched():
    ended = []
    thread = threading.Thread(target=lambda: ended.append(quiet()))
    thread.start()
    thread.join()
    assert ended == [True]


def quiet():
    with watched(1):
        time.sleep(1.5)
    return True
