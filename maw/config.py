"""Settings: typed, from ``maw.toml`` and the environment; and where a workspace is.

A setting ``name`` of section ``[section]`` can be overridden by ``MAW_SECTION_NAME``.
An unknown key, in the file or in the environment, is refused with the nearest known one.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maw.errors import ConfigError, InvalidSetting, UnknownSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "maw.toml"
MEGABYTE = 1_000_000


def _setting(default: Any, help_text: str, minimum: float | None = None) -> Any:
    return field(default=default, metadata={"help": help_text, "minimum": minimum})


@dataclass(frozen=True)
class PipelineSettings:
    """What `maw pipeline` and `maw summarize` do when the command line does not say."""

    on: str = _setting(
        "auto", "host that summarises: a name, local, or auto (the first satellite that is yours)"
    )
    engine: str = _setting("extractive", "summarizer engine")
    sentences: int = _setting(5, "sentences of a summary", 1)
    citations: int = _setting(8, "statements of a digest", 1)


@dataclass(frozen=True)
class OffloadSettings:
    """How jobs travel to a satellite and how long they may take."""

    job_timeout: float = _setting(600.0, "seconds that one document may take", 1)
    lease: float = _setting(60.0, "seconds without a sign of life after which a worker gives up", 5)
    processes: int = _setting(0, "worker processes on the satellite; 0 is one per core, at most four", 0)
    memory_megabytes: int = _setting(4096, "address space of one worker process", 256)


@dataclass(frozen=True)
class TextSettings:
    """What is too large or too slow to read."""

    document_megabytes: int = _setting(256, "largest document", 1)
    fetch_seconds: float = _setting(60.0, "longest time for one URL", 1)
    fetch_stall_seconds: float = _setting(15.0, "longest silence of a server", 1)
    redirects: int = _setting(8, "most redirects of a URL", 0)
    expanded_megabytes: int = _setting(512, "largest content of a compressed document", 1)
    pages: int = _setting(20_000, "most pages of a PDF", 1)


@dataclass(frozen=True)
class SshSettings:
    """The generated OpenSSH client config."""

    connect_seconds: int = _setting(10, "longest handshake of a host that answers", 1)
    probe_seconds: int = _setting(2, "time for one of several addresses to answer", 1)
    keepalive_seconds: int = _setting(15, "seconds between signs of life; three missed end the link", 1)
    remember_seconds: int = _setting(
        60, "seconds for which the address that answered is taken again; 0 looks each time", 0
    )
    wsl_seconds: int = _setting(60, "longest start of a sleeping WSL, log-in included", 1)
    persist_seconds: int = _setting(60, "seconds that a shared connection stays open unused", 0)
    identity_file: str = _setting(
        "", "private key for all hosts; empty is the workspace's keys, or your own if it has none"
    )


@dataclass(frozen=True)
class ProxmoxSettings:
    """The Proxmox server, and the API token that maw asks it with."""

    host: str = _setting("", "inventory name of the server; empty is the only host of group proxmox")
    node: str = _setting("", "name of the node there; empty is the one that the server says it is")
    api_port: int = _setting(8006, "port of the API", 1)
    token_id: str = _setting("maw@pve!mirror", "API token, USER@REALM!NAME")
    token_file: str = _setting(
        "keys/proxmox-token",
        "file (mode 0600 or Ansible Vault) with the token's secret; without it maw asks over SSH",
    )
    fingerprint: str = _setting("", "SHA-256 of the API's certificate, to be pinned")
    ca_file: str = _setting("", "the cluster's CA, a copy of /etc/pve/pve-root-ca.pem")
    connect_seconds: int = _setting(10, "longest time to connect", 1)
    answer_seconds: float = _setting(60.0, "longest wait for one answer", 1)


@dataclass(frozen=True)
class MirrorSettings:
    """How containers are mirrored."""

    on: str = _setting("auto", "host that holds the mirrors: a name, local, or auto (the first satellite)")
    mode: str = _setting("snapshot", "vzdump mode: snapshot, suspend or stop")
    pool: str = _setting("", "LXD storage pool; empty is that of the default profile, or the only usable one")
    network: str = _setting("", "LXD network or bridge of the mirrors; empty is that of the default profile")
    compress: str = _setting("auto", "zstd between core and satellite: auto, yes or no")
    lock_seconds: float = _setting(
        10800.0, "longest wait for another backup of the server, or for the container's lock", 0
    )
    silence_seconds: float = _setting(900.0, "seconds without a byte after which a transfer is given up", 5)


@dataclass(frozen=True)
class WeightsSettings:
    """Where models' weights lie, and how they are fetched."""

    folder: str = _setting("weights", "folder of the weights, in the workspace or anywhere")
    token_file: str = _setting(
        "keys/hub-token",
        "file (mode 0600 or Ansible Vault) with the hub's token; HF_TOKEN in the environment comes first",
    )
    largest_gigabytes: int = _setting(40, "largest model", 1)
    keep: int = _setting(1, "revisions of a model that are kept beside the one in use", 0)
    silence_seconds: float = _setting(30.0, "longest silence of the hub before it is asked again", 1)


@dataclass(frozen=True)
class Settings:
    """All settings, one attribute per section of ``maw.toml``."""

    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    offload: OffloadSettings = field(default_factory=OffloadSettings)
    text: TextSettings = field(default_factory=TextSettings)
    ssh: SshSettings = field(default_factory=SshSettings)
    proxmox: ProxmoxSettings = field(default_factory=ProxmoxSettings)
    mirror: MirrorSettings = field(default_factory=MirrorSettings)
    weights: WeightsSettings = field(default_factory=WeightsSettings)


_SECTIONS: dict[str, type[Any]] = {
    "pipeline": PipelineSettings,
    "offload": OffloadSettings,
    "text": TextSettings,
    "ssh": SshSettings,
    "proxmox": ProxmoxSettings,
    "mirror": MirrorSettings,
    "weights": WeightsSettings,
}
# Names in the environment that are maw's but no settings.
_RESERVED = frozenset({"MAW_WORKSPACE", "MAW_RUN"})


@dataclass(frozen=True)
class Workspace:
    """A folder that holds one cluster: its inventory, settings and soul."""

    root: Path

    @property
    def config_file(self) -> Path:
        """Path of ``maw.toml``."""
        return self.root / FILE_NAME

    @property
    def inventory(self) -> Path:
        """Folder of the Ansible inventory."""
        return self.root / "inventory"

    @property
    def soul(self) -> Path:
        """Folder of ψ."""
        return self.root / "ψ"

    @property
    def known_hosts(self) -> Path:
        """File of the pinned host keys."""
        return self.root / "known_hosts"

    @property
    def keys(self) -> Path:
        """Folder of the cluster's own private keys."""
        return self.root / "keys"

    @property
    def mirrors(self) -> Path:
        """Folder of what this machine knows of each mirror."""
        return self.root / "mirrors"

    @property
    def state(self) -> Path:
        """Folder of what maw can make again: ledger, generated files, caches."""
        return self.root / ".maw"


def find_workspace(environment: Mapping[str, str], start: Path) -> Workspace:
    """Given the environment and a folder, return the workspace that a command uses.

    The order: ``MAW_WORKSPACE``; the nearest folder from `start` upwards that has a
    ``maw.toml``; the user's own, ``$XDG_DATA_HOME/maw`` (``~/.local/share/maw``), which may
    not exist yet.
    """
    named = environment.get("MAW_WORKSPACE")
    if named:
        return Workspace(Path(named).expanduser().absolute())
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return Workspace(folder)
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Workspace(Path(data).expanduser() / "maw")


def load(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Given the path of a ``maw.toml`` (which may be missing), return the settings.

    Raise UnknownSetting, InvalidSetting or ConfigError (not TOML, not UTF-8, unreadable).
    """
    values = _read(path)
    sections = {}
    for name, content in values.items():
        if name in _SECTIONS and not isinstance(content, dict):
            raise ConfigError(path=path, reason=f"{name} must be a section, [{name}]")
        if name not in _SECTIONS:
            raise UnknownSetting(path=path, name=f"[{name}]", nearest=f"[{_nearest(name, _SECTIONS)}]")
        sections[name] = {key: (str(path), f"{name}.{key}", value) for key, value in content.items()}
    for variable, (section, key, text) in _from_environment(
        os.environ if environment is None else environment
    ).items():
        sections.setdefault(section, {})[key] = ("the environment", variable, text)
    return Settings(**{name: _section(name, sections.get(name, {})) for name in _SECTIONS})


def default_text() -> str:
    """Return the text of a ``maw.toml`` that lists every setting with its default, commented out."""
    lines = ["# Settings of maw. Every line shows its default; remove the # to change it."]
    for name, section in _SECTIONS.items():
        lines += ["", f"[{name}]"]
        for item in fields(section):
            value = f'"{item.default}"' if isinstance(item.default, str) else item.default
            lines.append(f"# {item.name} = {value}  # {item.metadata['help']}")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(path=path, reason=f"is not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        # Beside its own error, the reader raises these for endless numbers and endless nesting.
        raise ConfigError(path=path, reason=f"is not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(path=path, reason=error.strerror or str(error)) from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, str, str]]:
    found = {}
    known = {
        f"MAW_{section.upper()}_{item.name.upper()}": (section, item.name)
        for section, kind in _SECTIONS.items()
        for item in fields(kind)
    }
    for variable, text in environment.items():
        if not variable.startswith("MAW_") or variable in _RESERVED:
            continue
        if variable not in known:
            raise UnknownSetting(path="the environment", name=variable, nearest=_nearest(variable, known))
        found[variable] = (*known[variable], text)
    return found


def _section(name: str, values: Mapping[str, tuple[str, str, Any]]) -> Any:
    kind = _SECTIONS[name]
    known = {item.name: item for item in fields(kind)}
    chosen = {}
    for key, (path, shown, value) in values.items():
        if key not in known:
            raise UnknownSetting(path=path, name=shown, nearest=f"{name}.{_nearest(key, known)}")
        chosen[key] = _convert(path, shown, value, known[key])
    return kind(**chosen)


def _convert(path: str, shown: str, value: Any, item: dataclasses.Field[Any]) -> Any:
    wanted: type[Any] = type(item.default)
    minimum = item.metadata["minimum"]
    words = {str: "a text", int: "a whole number", float: "a number"}[wanted]
    if minimum is not None:
        words += f" of at least {minimum}"
    result = value
    if path == "the environment" and wanted is not str:
        try:
            result = wanted(value)
        except ValueError as error:
            raise InvalidSetting(path=path, name=shown, wanted=words, found=repr(value)) from error
    if wanted is float and type(result) is int:
        try:
            result = float(result)
        except OverflowError:
            result = float("inf")
    # A comparison with NaN is false, so that NaN is refused too.
    if type(result) is not wanted or (minimum is not None and not minimum <= result < float("inf")):
        raise InvalidSetting(path=path, name=shown, wanted=words, found=repr(value))
    return result


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return close[0]
