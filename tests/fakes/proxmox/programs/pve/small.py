"""The programs pveversion and pveum (users, roles, tokens, access lists)."""

from __future__ import annotations

import json
import re
import sys
import uuid
from typing import TYPE_CHECKING, Any

from . import access
from .privileges import PRIVILEGES
from .state import Node, PveError

if TYPE_CHECKING:
    from collections.abc import Callable


def main(node: Node, program: str, arguments: list[str]) -> int:
    """Run the program; return its exit code."""
    if program == "pveversion":
        version = node.info()["version"]
        kernel = node.info().get("kernel", "6.14.8-2-pve")
        print(f"pve-manager/{version['version']}/{version['repoid']} (running kernel: {kernel})")
        return 0
    try:
        return _pveum(node, arguments)
    except PveError as error:
        print(error.text, file=sys.stderr)
        return error.code


def _pveum(node: Node, arguments: list[str]) -> int:
    for length in (3, 2):
        found = _COMMANDS.get(" ".join(arguments[:length]))
        if found is not None:
            words, given = _options(arguments[length:])
            with access.change(node) as known:
                answer = found(known, words, given)
            if answer is not None:
                print(answer)
            return 0
    print(f"ERROR: unknown command 'pveum {' '.join(arguments[:2])}'", file=sys.stderr)
    return 255


def _options(rest: list[str]) -> tuple[list[str], dict[str, str]]:
    words, given, position = [], {}, 0
    while position < len(rest):
        word = rest[position]
        position += 1
        if not word.startswith("-"):
            words.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = rest[position] if position < len(rest) else ""
            position += 1
        given[name] = value
    return words, given


def _privileges(given: dict[str, str]) -> list[str]:
    names = [name for name in re.split(r"[,;\s]+", given.get("privs", "")) if name]
    for name in names:
        if name not in PRIVILEGES:
            problem = f"invalid format - invalid privilege '{name}'\n"
            raise PveError(f"400 Parameter verification failed.\nprivs: {problem}")
    return names


def _role_add(known: dict, words: list[str], given: dict[str, str]) -> None:
    if words[0] in known["roles"]:
        raise PveError(f"create role failed: role '{words[0]}' already exists")
    known["roles"][words[0]] = _privileges(given)


def _role_modify(known: dict, words: list[str], given: dict[str, str]) -> None:
    if words[0] not in known["roles"]:
        raise PveError(f"modify role failed: role '{words[0]}' does not exist")
    before = known["roles"][words[0]] if given.get("append", "0") != "0" else []
    known["roles"][words[0]] = sorted({*before, *_privileges(given)})


def _role_list(known: dict, _words: list[str], _given: dict[str, str]) -> str:
    rows = [
        {"roleid": name, "privs": ",".join(sorted(held))} for name, held in sorted(known["roles"].items())
    ]
    return json.dumps(rows)


def _role_delete(known: dict, words: list[str], _given: dict[str, str]) -> None:
    if known["roles"].pop(words[0], None) is None:
        raise PveError(f"delete role failed: role '{words[0]}' does not exist")
    known["acl"] = [entry for entry in known["acl"] if entry["roleid"] != words[0]]


def _user_add(known: dict, words: list[str], given: dict[str, str]) -> None:
    if words[0] in known["users"]:
        raise PveError(f"create user failed: user '{words[0]}' already exists")
    known["users"][words[0]] = {"enable": 1, **given}


def _user_list(known: dict, _words: list[str], _given: dict[str, str]) -> str:
    # The password is kept elsewhere there, and never listed.
    kept = {name: {k: v for k, v in user.items() if k != "password"} for name, user in known["users"].items()}
    return json.dumps([{"userid": name, **user} for name, user in sorted(kept.items())])


def _user_delete(known: dict, words: list[str], _given: dict[str, str]) -> None:
    if known["users"].pop(words[0], None) is None:
        raise PveError(f"delete user failed: no such user ('{words[0]}')")
    for full in [name for name in known["tokens"] if name.startswith(f"{words[0]}!")]:
        del known["tokens"][full]
    gone = (words[0], f"{words[0]}!")
    known["acl"] = [
        entry for entry in known["acl"] if entry["ugid"] != gone[0] and not entry["ugid"].startswith(gone[1])
    ]


def _acl_modify(known: dict, words: list[str], given: dict[str, str]) -> None:
    path = "/" + words[0].strip("/")
    names = given.get("users") or given.get("user") or given.get("tokens") or given.get("token") or ""
    for name in filter(None, names.split(",")):
        if name not in known["users"] and name not in known["tokens"]:
            raise PveError(f"user '{name}' does not exist")
        for role in filter(None, (given.get("roles") or given.get("role") or "").split(",")):
            access.role(known, role)
            entry = {"path": path, "ugid": name, "roleid": role}
            known["acl"] = [one for one in known["acl"] if {key: one[key] for key in entry} != entry]
            known["acl"].append({**entry, "propagate": int(given.get("propagate", "1"))})


def _acl_delete(known: dict, words: list[str], given: dict[str, str]) -> None:
    path = "/" + words[0].strip("/")
    names = (given.get("users") or given.get("tokens") or "").split(",")
    roles = given.get("roles", "").split(",")
    known["acl"] = [
        one
        for one in known["acl"]
        if one["path"] != path or one["ugid"] not in names or one["roleid"] not in roles
    ]


def _acl_list(known: dict, _words: list[str], _given: dict[str, str]) -> str:
    return json.dumps([{**e, "type": "token" if "!" in e["ugid"] else "user"} for e in known["acl"]])


def _token_add(known: dict, words: list[str], given: dict[str, str]) -> str:
    user, name = words
    if user not in known["users"]:
        raise PveError(f"no such user ('{user}')")
    full = f"{user}!{name}"
    if full in known["tokens"]:
        raise PveError("400 Parameter verification failed.\ntokenid: Token already exists.")
    separate = int(given.get("privsep", "1"))
    value = str(uuid.uuid4())
    known["tokens"][full] = {"value": value, "privsep": separate}
    answer = {"full-tokenid": full, "info": {"privsep": str(separate)}, "value": value}
    if given.get("output-format") == "json":
        return json.dumps(answer)
    rows = [("key", "value"), ("full-tokenid", full), ("info", json.dumps(answer["info"])), ("value", value)]
    return "\n".join(f"| {key:<12} | {text:<36} |" for key, text in rows)


def _token_remove(known: dict, words: list[str], _given: dict[str, str]) -> None:
    full = "!".join(words)
    if known["tokens"].pop(full, None) is None:
        raise PveError(f"no such token '{words[1]}' for user '{words[0]}'")
    known["acl"] = [entry for entry in known["acl"] if entry["ugid"] != full]


def _token_modify(known: dict, words: list[str], given: dict[str, str]) -> str:
    full = "!".join(words)
    if full not in known["tokens"]:
        raise PveError(f"no such token '{words[1]}' for user '{words[0]}'")
    known["tokens"][full]["privsep"] = int(given.get("privsep", known["tokens"][full]["privsep"]))
    return json.dumps({"privsep": known["tokens"][full]["privsep"]})


def _token_list(known: dict, words: list[str], _given: dict[str, str]) -> str:
    mine = {n.partition("!")[2]: t for n, t in known["tokens"].items() if n.startswith(f"{words[0]}!")}
    return json.dumps([{"tokenid": n, "privsep": t["privsep"], "expire": 0} for n, t in sorted(mine.items())])


_COMMANDS: dict[str, Callable[[dict, list[str], dict[str, str]], Any]] = {
    "acl delete": _acl_delete,
    "acl list": _acl_list,
    "acl modify": _acl_modify,
    "aclmod": _acl_modify,
    "role add": _role_add,
    "role delete": _role_delete,
    "role list": _role_list,
    "role modify": _role_modify,
    "user add": _user_add,
    "user delete": _user_delete,
    "user list": _user_list,
    "user token add": _token_add,
    "user token list": _token_list,
    "user token modify": _token_modify,
    "user token remove": _token_remove,
}
