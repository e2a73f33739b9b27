"""Which of the collections that the playbooks use are not here."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import CannotRead, CollectionsMissing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOLDER = "ansible_collections"


@dataclass(frozen=True)
class Wanted:
    """A collection and the version that the tests run with."""

    name: str
    version: str


def wanted(path: Path) -> tuple[Wanted, ...]:
    """Given requirements.yml, return the collections in it. Raise CannotRead."""
    import yaml

    try:
        listing: dict[str, Any] = yaml.safe_load(path.read_bytes())
        return tuple(Wanted(str(one["name"]), str(one["version"])) for one in listing["collections"])
    except OSError as error:
        raise CannotRead(path=path, reason=error.strerror or str(error)) from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise CannotRead(path=path, reason=f"it is no list of collections ({error})") from error


def places(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Given the environment, return the folders where Ansible looks for collections."""
    named = environment.get("ANSIBLE_COLLECTIONS_PATH")
    if named:
        listed = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    else:
        own = environment.get("ANSIBLE_HOME") or "~/.ansible"
        listed = [Path(own).expanduser() / "collections", Path("/usr/share/ansible/collections")]
    return tuple(dict.fromkeys([*listed, *(Path(part) for part in sys.path if part)]))


def check(path: Path, environment: Mapping[str, str]) -> None:
    """Given requirements.yml and the environment, look whether its collections are here.

    Raise CannotRead or CollectionsMissing.
    """
    folders = places(environment)
    absent = []
    for one in wanted(path):
        found = _version(one.name, folders)
        if found is None:
            absent.append(f"{one.name} {one.version}")
        elif _numbers(found) < _numbers(one.version):
            absent.append(f"{one.name} {one.version} (here is {found})")
    if absent:
        raise missing(absent, path)


def missing(names: Sequence[str], path: Path) -> CollectionsMissing:
    """Given names of collections and requirements.yml, return the error to raise."""
    return CollectionsMissing(
        names=", ".join(names), command=f"ansible-galaxy collection install -r {shlex.quote(str(path))}"
    )


def _version(name: str, folders: Sequence[Path]) -> str | None:
    space, _, short = name.partition(".")
    for folder in folders:
        # A path to look in may name the inner folder too, as Ansible allows.
        for base in (folder / _FOLDER, folder):
            place = base / space / short
            try:
                manifest = json.loads((place / "MANIFEST.json").read_bytes())
                return str(manifest["collection_info"]["version"])
            except (OSError, ValueError, KeyError, TypeError):
                if (place / "galaxy.yml").is_file():
                    return _of_source(place / "galaxy.yml")
    return None


def _of_source(path: Path) -> str:
    import yaml

    try:
        return str(yaml.safe_load(path.read_bytes())["version"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        # A collection without a version that can be read is somebody's working copy.
        return "9999"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))
