"""Loads what a role brings: programs in files/, filters in filter_plugins/. They lie in no package."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path, name: str | None = None) -> Any:
    """Given a Python file and a name for its module (its own if not given), return the module."""
    place = importlib.util.spec_from_file_location(name or path.stem, path)
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    # A dataclass looks its own module up.
    sys.modules[place.name] = module
    place.loader.exec_module(module)
    return module
