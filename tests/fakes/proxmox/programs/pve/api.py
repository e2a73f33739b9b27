"""The API: which calls there are, what each is given, what it answers or refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .access import Who


class ParameterError(PveError):
    """Parameters that the call does not take."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("Parameter verification failed.\n", 400)
        self.errors = errors


class NotImplementedHereError(PveError):
    """A path or a method that there is not."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Method '{method} {path}' not implemented", 501)


@dataclass(frozen=True)
class Call:
    """One request, as a route sees it: `values` are the parts of the path and the parameters."""

    node: Node
    who: Who
    values: dict[str, Any]
    by_token: bool = False

    def __getitem__(self, name: str) -> Any:
        """Return a part of the path or a parameter that is there."""
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a parameter, or the default."""
        return self.values.get(name, default)


@dataclass(frozen=True)
class Answer:
    """What a route gives: the data, and for some calls a total or a plain text."""

    data: Any
    total: int | None = None
    text: str | None = None


@dataclass(frozen=True)
class Route:
    """One call of the API; `params` are the names that it takes, a `*` for whatever a guest's config has."""

    method: str
    path: str
    answer: Callable[[Call], Any]
    params: frozenset[str] = frozenset()
    required: frozenset[str] = field(default=frozenset())

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parts of a path that are for this route, or None; a volume's name has slashes."""
        pattern = re.sub(r"\\?\{(\w+)\\?\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        pattern = pattern.replace("(?P<volume>[^/]+)", "(?P<volume>.+)")
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found else None


def routes() -> list[Route]:
    """Return all calls, those of fixed paths first."""
    from . import routes_guests, routes_node, routes_storage

    return [*routes_node.ROUTES, *routes_guests.ROUTES, *routes_storage.ROUTES]


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route of a path and the path's parts. Raise NotImplementedHereError."""
    for route in routes():
        parts = route.match(path) if route.method == method else None
        if parts is not None:
            return route, parts
    raise NotImplementedHereError(method, path)


def call(
    node: Node, who: Who, method: str, path: str, params: dict[str, Any], *, by_token: bool = False
) -> Answer:
    """Make one call. Raise PveError with the HTTP status as its code where it is refused."""
    route, parts = find(method, path)
    errors = {}
    for name in params:
        if name not in route.params and "*" not in route.params:
            errors[name] = (
                "property is not defined in schema and the schema does not allow additional properties"
            )
    for name in route.required - set(params):
        errors[name] = "property is missing and it is not optional"
    vmid = parts.get("vmid")
    if vmid is not None and not re.fullmatch(r"-?\d+", vmid):
        errors["vmid"] = f"type check ('integer') failed - got '{vmid}'"
    elif vmid is not None and not 100 <= int(vmid) <= 999999999:
        errors["vmid"] = "invalid format - value does not look like a valid VM ID\n"
    if errors:
        raise ParameterError(errors)
    if "node" in parts and parts["node"] != node.name:
        raise _other_node(node, parts["node"])
    answer = route.answer(Call(node, who, {**params, **parts}, by_token))
    return answer if isinstance(answer, Answer) else Answer(answer)


def _other_node(node: Node, name: str) -> PveError:
    if name in node.info().get("dead_nodes", []):
        return PveError("Connection refused", 595)
    why = "failed to get address info for: " + name + ": Name or service not known"
    return PveError(f"hostname lookup '{name}' failed - {why}", 500)
