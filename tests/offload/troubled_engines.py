"""Engines that do what engines must not do, for the worker to survive."""

from __future__ import annotations

import ctypes
import os
import time

from maw.models.engines import Sentence


class Engine:
    model = "troubled"

    def summarize(self, text: str, **_: object) -> list[Sentence]:
        self.trouble()
        return [Sentence(text, 0, len(text))]


class Crash(Engine):
    def trouble(self) -> None:
        ctypes.string_at(0)


class Exit(Engine):
    def trouble(self) -> None:
        os._exit(0)


class Raise(Engine):
    def trouble(self) -> None:
        raise ZeroDivisionError("by design")


class Eat(Engine):
    def trouble(self) -> None:
        kept = []
        while True:
            kept.append(bytearray(50_000_000))


class Print(Engine):
    def trouble(self) -> None:
        print("a library that prints", flush=True)
        os.write(1, b"and one that writes to the descriptor\n")


class Sleep(Engine):
    def trouble(self) -> None:
        time.sleep(3600)


class Nap(Engine):
    def trouble(self) -> None:
        time.sleep(3)
