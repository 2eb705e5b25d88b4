from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from atlasbench.measure.signals import FirstSignal


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def run(log: list[str], *, at_work: Callable[[], Any] = list, at_the_end: Callable[[], Any] = list) -> None:
    with FirstSignal() as signals:
        try:
            signals.release()
            at_work()
            log.append("worked")
        finally:
            signals.hold()
            at_the_end()
            log.append("cleaned")


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt()), (signal.SIGTERM, SystemExit(143))], ids=["INT", "TERM"]
)
def test_a_signal_is_an_exception_and_later_ones_do_not_stop_the_cleaning_up(
    number: signal.Signals, error: BaseException
) -> None:
    log: list[str] = []

    with pytest.raises(type(error)) as caught:
        run(log, at_work=lambda: send(number), at_the_end=lambda: send(signal.SIGINT, signal.SIGTERM))

    assert caught.value.args == error.args
    assert log == ["cleaned"]


def test_a_signal_that_comes_while_it_is_held_waits_for_the_end() -> None:
    log: list[str] = []

    with pytest.raises(SystemExit):
        run(log, at_the_end=lambda: send(signal.SIGTERM))

    assert log == ["worked", "cleaned"]


def test_a_signal_that_comes_before_the_work_is_heard_before_it() -> None:
    with FirstSignal() as signals:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signals.release()


def test_a_signal_that_is_ignored_stays_so_and_handlers_are_put_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log: list[str] = []
    try:
        run(log, at_work=lambda: send(signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)

    assert log == ["worked", "cleaned"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
