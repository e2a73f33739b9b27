"""Running a playbook of maw's: ansible-runner on the workspace's inventory, over its OpenSSH config."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from maw import files
from maw.provision import artifacts, events, guard, handing, verdict
from maw.provision.inventory import program
from maw.provision.model import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maw.errors import MawError
    from maw.provision.artifacts import Artifacts
    from maw.provision.content import Content
    from maw.provision.handing import Handed

FOLDER = "provision"
_FORKS = 10
# A result that is longer is not looked at.
_LARGEST_RESULT = 64_000_000


class Watcher(Protocol):
    """Who is told how far a run is."""

    def update(self, run: Run) -> None:
        """Something happened."""


@dataclass(frozen=True)
class Wish:
    """What to run, and on which hosts."""

    playbook: str
    limit: tuple[str, ...] = ()
    check: bool = False
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where to run it: the workspace's folders, its OpenSSH config, and what must not be written anywhere.

    `variables` are of single hosts, beside the inventory's own.
    """

    root: Path
    inventory: Path
    state: Path
    ssh_config: Path
    content: Content
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    @property
    def runs(self) -> Path:
        """Folder of what is kept of the runs."""
        return self.state / FOLDER


@dataclass(frozen=True)
class Ended:
    """A run that came to its end."""

    wish: Wish
    run: Run
    code: int | None
    stopped: bool
    seconds: float
    artifacts: Artifacts
    failure: MawError | None


class Silent:
    """Tells nobody."""

    def update(self, run: Run) -> None:
        """Something happened."""


def run(site: Site, wish: Wish, lock: Path, watcher: Watcher | None = None) -> Ended:
    """Given a site, a wish and the lock for the guard (see `lock.held`), run the playbook to its end.

    What came of it is in the answer, an error of the playbook too. Raise ContentMissing or FileError if it
    cannot begin; then nothing was touched.
    """
    playbook = site.content.playbook(wish.playbook)
    kept = artifacts.begin(site.runs, wish.playbook, _asked(wish))
    clean = handing.cleaner(site.secrets)
    seen, told = Run(), watcher or Silent()

    def take(event: dict[str, Any]) -> None:
        one = events.Seen("lost") if "event" not in event else events.seen(event, clean)
        if one is not None:
            kept.add(one)
            seen.take(one)
            told.update(seen)

    begun = time.monotonic()
    with (
        closing(kept),
        _scratch() as scratch,
        handing.Handed() as handed,
        _interruptible(handed) as stopped,
    ):
        code = _ansible(site, wish, playbook, lock, scratch, handed, take)
    failed = verdict.failure(seen, code, wish.playbook, site.content, stopped=bool(stopped))
    return Ended(wish, seen, code, bool(stopped), time.monotonic() - begun, kept, failed)


def _asked(wish: Wish) -> dict[str, Any]:
    # Of further variables only the names: a value may be a secret.
    return {
        "schema": "maw.provision-run/1",
        "playbook": wish.playbook,
        "limit": list(wish.limit),
        "check": wish.check,
        "tags": list(wish.tags),
        "extra_vars": sorted(wish.extra),
        "process": os.getpid(),
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what ansible-runner writes; in memory where the system has a place of the user's there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    try:
        parent = runtime if runtime and Path(runtime).is_dir() else None
        folder = Path(tempfile.mkdtemp(prefix="maw-provision-", dir=parent))
    except OSError as error:
        raise files.translate(error, Path(runtime or tempfile.gettempdir())) from error
    try:
        yield folder
    finally:
        # A run that ended is not turned into an error by this; the folder is private.
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _interruptible(handed: Handed) -> Iterator[list[int]]:
    """Ctrl-C stops Ansible in order; yield a list that then is not empty."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def stop(number: int, _frame: object) -> None:
        asked.append(number)
        handed.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _ansible(
    site: Site, wish: Wish, playbook: Path, lock: Path, scratch: Path, handed: Handed, take: Any
) -> int | None:
    from ansible_runner.config.runner import RunnerConfig

    (scratch / "ansible.cfg").write_text("[defaults]\n", "ascii")
    own = scratch / "maw.json"
    files.write_atomically(own, _own_inventory(site), mode=0o600)
    config = RunnerConfig(
        private_data_dir=str(scratch),
        project_dir=str(site.content.playbooks),
        ident="run",
        inventory=[str(site.inventory), str(own)],
        playbook=str(playbook),
        limit=",".join(wish.limit) or None,
        tags=",".join(wish.tags) or None,
        envvars=_settings(site, scratch),
        # Facts of hosts hold their environment: they stay in Ansible's memory.
        fact_cache_type="memory",
        quiet=True,
        suppress_output_file=True,
    )
    config.prepare()
    config.suppress_output_file = True
    config.pexpect_timeout = 1
    # What of it is this process's own environment must not stand in ansible-runner's files.
    config.env = {name: value for name, value in config.env.items() if os.environ.get(name) != value}
    ansible = program("ansible-playbook")
    command = [ansible, *config.command[1:]]
    command[1:1] = ["--check"] if wish.check else []
    if wish.extra:
        # Ansible takes no file in memory here, for it looks where a link leads.
        files.write_atomically(scratch / "extra.json", json.dumps(wish.extra), mode=0o600)
        command[1:1] = ["-e", f"@{scratch / 'extra.json'}"]
    environment = handing.environment(os.environ, Path(ansible).parent, site.root)
    guarded = [guard.__file__, handed.control, handed.json(environment), str(lock), str(scratch), *command]
    config.command = [sys.executable, "-I", *guarded]
    runner = _runner()(config=config, event_handler=lambda event: take(event) or False)
    runner.run()
    code: int | None = runner.rc
    return code


def _runner() -> type[Any]:
    from ansible_runner.runner import Runner

    class Watched(Runner):  # type: ignore[misc]
        """Believes only what Ansible's callback wrote to a file.

        The lines that lead to the files stand among what hosts say, who could write such lines too.
        """

        def event_callback(self, event_data: dict[str, Any]) -> None:
            """Given what a line holds, keep of it what leads to the file."""
            names = ("uuid", "counter", "stdout", "start_line", "end_line")
            kept = {name: event_data[name] for name in names if name in event_data}
            path = Path(self.config.artifact_dir) / "job_events" / f"{kept.get('uuid', '')}-partial.json"
            if path.parent != Path(os.path.normpath(path)).parent:
                return
            if event_data.get("event") == "verbose" and not path.exists():
                kept["event"] = "verbose"
            super().event_callback(kept)

    return Watched


def _own_inventory(site: Site) -> str:
    return json.dumps({"all": {"hosts": {name: dict(values) for name, values in site.variables.items()}}})


def _settings(site: Site, scratch: Path) -> dict[str, str]:
    """What ansible.cfg would say. Only the workspace's own is read beside it."""
    own = site.root / "ansible.cfg"
    return {
        "ANSIBLE_CONFIG": str(own if own.is_file() else scratch / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(site.content.roles),
        "ANSIBLE_SSH_ARGS": f"-F {shlex.quote(str(site.ssh_config))}",
        "ANSIBLE_HOST_KEY_CHECKING": "true",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_FORKS": str(_FORKS),
        "ANSIBLE_LOCAL_TEMP": str(scratch / "tmp"),
        "ANSIBLE_INTERPRETER_PYTHON": "auto_silent",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_FORCE_COLOR": "false",
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_CALLBACK_PLUGINS": "",
        # Shown are the events; what hosts say needs not come by the terminal too.
        "ANSIBLE_DISPLAY_OK_HOSTS": "false",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "MAX_EVENT_RES": str(_LARGEST_RESULT),
    }
