"""Engines are known by name; a wrong name is misuse, a missing one says why."""

from __future__ import annotations

import pytest

from maw.errors import EngineUnavailable, UnknownEngine
from maw.models import engines


def test_the_default_engine_can_be_made():
    assert engines.make(engines.DEFAULT).model == engines.models()[engines.DEFAULT]


def test_a_misspelt_engine_is_refused_with_the_nearest():
    with pytest.raises(UnknownEngine, match="Did you mean extractive"):
        engines.check_name("extractiv")


def test_an_engine_that_is_not_there_yet_is_known_but_cannot_be_made():
    engines.check_name("t5gemma2")
    with pytest.raises(EngineUnavailable, match="no T5Gemma 2 engine yet"):
        engines.make("t5gemma2")


def test_an_engine_whose_library_is_missing_says_so():
    with pytest.raises(EngineUnavailable, match="no_such_library"):
        engines.make("own", {"own": "no_such_library:Engine"})
