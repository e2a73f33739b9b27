"""Which summarizer engines there are, what each one is, and how one is made."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maw.errors import EngineUnavailable, UnknownEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    # Given a text, where its sentences begin and end.
    Borders = Callable[[str], Sequence[tuple[int, int]]]

DEFAULT = "extractive"


@dataclass(frozen=True)
class Sentence:
    """One sentence of a summary, and where it stands: characters of the extracted text."""

    text: str
    start: int
    end: int


class Engine(Protocol):
    """What turns a text into a summary.

    `model` names the weights and their version: it is part of what a finished job is known by.
    """

    model: str

    def summarize(
        self, text: str, *, borders: Borders, sentences: int, question: str | None
    ) -> Sequence[Sentence]:
        """Given a text and what finds its sentences, return at most `sentences`, in the text's order."""


# Name -> "module:class". Others register theirs on the worker's command line.
FACTORIES: Mapping[str, str] = {"extractive": "maw.models.extractive:Extractive"}

# Engines that maw knows by name but that this version cannot run, and why.
NOT_THERE: Mapping[str, str] = {
    "t5gemma2": "this version has no T5Gemma 2 engine yet",
    "instruct": "this version has no engine for instruct models yet",
}


def check_name(name: str) -> None:
    """Given the name that a person asked for, raise UnknownEngine unless maw knows it."""
    known = [*FACTORIES, *NOT_THERE]
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise UnknownEngine(name=name, nearest=nearest, known=", ".join(known))


def models(factories: Mapping[str, str] = FACTORIES) -> dict[str, str]:
    """Return the name of each engine that can be made here, with its model."""
    return {name: _load(factories[name]).model for name in factories}


def _load(factory: str) -> type[Engine]:
    module, _, attribute = factory.partition(":")
    kind: type[Engine] = getattr(importlib.import_module(module), attribute)
    return kind


def make(name: str, factories: Mapping[str, str] = FACTORIES) -> Engine:
    """Given an engine's name, return it, ready. Raise EngineUnavailable with the reason."""
    if name not in factories:
        raise EngineUnavailable(
            engine=name,
            host="this machine",
            reason=NOT_THERE.get(name, "nothing is registered under that name"),
        )
    try:
        return _load(factories[name])()
    except (ImportError, AttributeError) as error:
        raise EngineUnavailable(engine=name, host="this machine", reason=str(error)) from error
