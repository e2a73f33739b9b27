"""A transfer in which nothing moves is given up, and one that waits for its turn is not."""

from __future__ import annotations

import threading
import time

from maw.mirror.load import Watch


class Stuck:
    """A source, or a channel, that says nothing until it is interrupted."""

    def __init__(self, *, waits: bool = False) -> None:
        self.ended = threading.Event()
        self._waits = waits

    def waiting(self) -> bool:
        return self._waits

    def interrupt(self) -> None:
        self.ended.set()

    stop = interrupt


def test_silence_ends_both_sides() -> None:
    source, channel = Stuck(), Stuck()
    with Watch(source, channel, 0.5, 100.0) as watch:
        assert source.ended.wait(10)
        assert channel.ended.wait(10)
        assert watch.expired


def test_what_moves_or_waits_for_its_turn_goes_on() -> None:
    moving, waiting = Stuck(), Stuck(waits=True)
    with Watch(moving, moving, 1.5, 100.0) as one, Watch(waiting, waiting, 0.5, 100.0) as other:
        for _ in range(25):
            time.sleep(0.1)
            one.moved()
        assert not one.expired
        assert not other.expired
    assert not moving.ended.is_set()
    assert not waiting.ended.is_set()
