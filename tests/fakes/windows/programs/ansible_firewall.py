"""win_firewall_rule: rules as the firewall's COM objects hold them."""

from __future__ import annotations

from .ansible_arguments import Module, Option, Spec, expanded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROTOCOLS = {"tcp": 6, "udp": 17, "icmpv4": 1, "icmpv6": 58}
_PROFILES = {"domain": 1, "private": 2, "public": 4}
ALL_PROFILES = 0x7FFFFFFF
_PROPERTIES = {
    "description": "Description",
    "direction": "Direction",
    "action": "Action",
    "program": "ApplicationName",
    "group": "Grouping",
    "service": "ServiceName",
    "enabled": "Enabled",
    "profiles": "Profiles",
    "localip": "LocalAddresses",
    "remoteip": "RemoteAddresses",
    "protocol": "Protocol",
    "localport": "LocalPorts",
    "remoteport": "RemotePorts",
    "icmp_type_code": "IcmpTypesAndCodes",
}
NEW: dict[str, Any] = {
    **dict.fromkeys(_PROPERTIES.values()),
    "Enabled": True,
    "Direction": 1,
    "Action": 1,
    "Profiles": ALL_PROFILES,
    "Protocol": 256,
    "LocalAddresses": "*",
    "RemoteAddresses": "*",
}


def address(text: str) -> str:
    """Return an address as the firewall gives it back: with a mask."""
    text = text.strip()
    if text.lower() == "localsubnet":
        return "LocalSubnet"
    base, slash, length = text.partition("/")
    if base.count(".") != 3 or "-" in text or "." in length:
        return text
    bits = int(length) if slash else 32
    mask = (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
    return f"{base}/{'.'.join(str(mask >> shift & 255) for shift in (24, 16, 8, 0))}"


def _property(module: Module, option: str, value: Any) -> Any:
    """Return what an option makes of a property; what means "any" is the property's first value."""
    new = NEW[_PROPERTIES[option]]
    if option == "profiles":
        unknown = [word for word in value if word not in _PROFILES]
        if unknown:
            module.fail(f"Unknown profile '{unknown[0]}'.")
        total = sum(_PROFILES[word] for word in set(value))
        return ALL_PROFILES if total == 7 else total
    if option == "icmp_type_code":
        return ",".join(map(str, value))
    if option in ("direction", "action", "enabled", "description", "group"):
        return {"in": 1, "out": 2, "allow": 1, "block": 0}.get(value, value)
    if value == "any":
        return "*" if option in ("localport", "remoteport") else new
    if option == "protocol":
        number = int(value) if value.isdigit() else _PROTOCOLS.get(value.lower())
        return number if number is not None else module.fail(f"Unknown protocol '{value}'.")
    if option in ("localip", "remoteip"):
        return ",".join(address(word) for word in value.split(","))
    return expanded(module.machine, value) if option == "program" else value


def _same(name: str, one: Any, other: Any) -> bool:
    if name.endswith("Addresses") and one and other:
        return sorted(one.split(",")) == sorted(other.split(","))
    return bool(one == other)


def _rule(module: Module) -> None:
    name, group = module.params["name"], module.params["group"]
    if not name and not group:
        module.fail("Either name or group must be specified")
    wanted = {
        _PROPERTIES[option]: _property(module, option, module.params[option])
        for option in _PROPERTIES
        if module.params[option] is not None
    }
    ports = {"LocalPorts", "RemotePorts"} & set(wanted)
    rules = module.machine.state["firewall"]
    key, value = ("Name", name) if name else ("Grouping", group)
    found = [rule for rule in rules if (rule[key] or "").lower() == value.lower()]
    protocol = wanted.get("Protocol", found[0]["Protocol"] if found else 256)
    if ports and protocol not in (6, 17) and module.params["state"] == "present":
        module.fail('Exception setting "LocalPorts": "Value does not fall within the expected range."')
    names = [rule["Name"] for rule in found]
    if module.params["state"] == "absent":
        module.result["msg"] = "Firewall rule(s) '{}' removed.".format("', '".join(names))
        if not found:
            module.result["msg"] = f"Firewall rule '{value}' does not exist."
        elif module.changed():
            module.machine.change(lambda state: _drop(state, names))
    elif not found and name:
        module.result["msg"] = f"Firewall rule '{name}' created."
        if module.changed():
            rule = {**NEW, "id": None, "Name": name, **wanted}
            module.machine.change(lambda state: state["firewall"].append(rule))
    elif found:
        other = [
            rule["Name"] for rule in found if not all(_same(key, rule[key], wanted[key]) for key in wanted)
        ]
        kept = "', '".join(each for each in names if each not in other)
        changed = "', '".join(other)
        module.result["msg"] = f"Firewall rule(s) changed '{changed}' - unchanged '{kept}'"
        if other and module.changed():
            module.machine.change(lambda state: _set(state, other, wanted))


def _drop(state: dict[str, Any], names: list[str]) -> None:
    state["firewall"] = [rule for rule in state["firewall"] if rule["Name"] not in names]


def _set(state: dict[str, Any], names: list[str], wanted: dict[str, Any]) -> None:
    for rule in state["firewall"]:
        if rule["Name"] in names:
            rule.update(wanted)


_OPTIONS = {
    "name": Option(),
    "group": Option(),
    "description": Option(),
    "direction": Option(choices=("in", "out")),
    "action": Option(choices=("allow", "block")),
    "program": Option(),
    "service": Option(),
    "enabled": Option("bool", aliases=("enable",)),
    "profiles": Option("list", elements="str", aliases=("profile",)),
    "localip": Option(),
    "remoteip": Option(),
    "localport": Option(),
    "remoteport": Option(),
    "protocol": Option(),
    "icmp_type_code": Option("list", elements="str"),
    "state": Option(default="present", choices=("present", "absent")),
}
SPECS = {"win_firewall_rule": Spec(_rule, _OPTIONS)}
