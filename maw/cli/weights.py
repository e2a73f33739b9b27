"""`maw weights`: models' weights, fetched once, checked, kept and put away."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maw.errors import Misuse, WeightsDamaged, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maw.cli.workspace import Context
    from maw.models.weights_fetch import Outcome
    from maw.models.weights_store import Installed, Leftover, Store

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("weights", short_help="Fetch, list, check and put away models' weights.")
def command() -> None:
    """Fetch models' weights from the hub once, and keep them checked in the workspace.

    Each revision lies whole in a folder of its own, with a manifest of the hash of every file; `current`
    names the one in use. Only data is taken (safetensors, GGUF, JSON, text), nothing that runs when loaded.
    """


@command.command("fetch", short_help="Fetch a model, or go on with it.")
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--revision", default=None, help="Commit (best), branch or tag; the newest if not given.")
@click.option(
    "--file", "named", multiple=True, help="Only this file and the licence, for a GGUF; repeat it for more."
)
@click.option("--verify", is_flag=True, help="Read what is here again, and get anew what is damaged.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched and whether it fits; fetch nothing.")
@_json
def fetch(
    repo: str, revision: str | None, named: tuple[str, ...], verify: bool, dry_run: bool, as_json: bool
) -> None:
    """Fetch the weights of OWNER/NAME, check every byte, and put them into use.

    Stopped at any moment, the same command goes on where it stopped; until all is there, what was in use
    stays. A commit that is here already needs no internet. For a model whose licence must be accepted, put
    the hub's token into HF_TOKEN or the file of weights.token_file, never on the command line.
    """
    from maw.cli.weights_text import progress, show_outcome
    from maw.cli.workspace import current
    from maw.models.weights_fetch import Request
    from maw.models.weights_fetch import fetch as get

    context = current()
    settings = context.settings.weights
    with progress(repo) as shown:
        done = get(
            lambda: _hub(context),
            _store(context),
            Request(repo, revision or None, named, verify=verify, dry_run=dry_run),
            shown,
            largest=settings.largest_gigabytes * 1_000_000_000,
        )
    if as_json:
        asked = {"asked": revision, "dry_run": dry_run}
        _print({"schema": "maw.weights-fetch/1", **asked, **_outcome(done)})
    else:
        show_outcome(done, pinned=revision == done.revision, dry_run=dry_run)


@command.command("list", short_help="List what is here.")
@_json
def list_all(as_json: bool) -> None:
    """List the weights that are here: revisions, sizes, licences, and fetches that did not end."""
    from maw.cli.weights_text import show_installed
    from maw.cli.workspace import current

    store = _store(current())
    found, left = store.installed(), store.leftovers()
    if as_json:
        shown = [_installed(one) for one in found]
        unfinished = [_leftover(one) for one in left]
        _print(
            {
                "schema": "maw.weights-list/1",
                "folder": str(store.root),
                "revisions": shown,
                "unfinished": unfinished,
            }
        )
    else:
        show_installed(store.root, found, left)


@command.command("verify", short_help="Read all weights again, and compare the hashes.")
@click.argument("repo", required=False, metavar="[OWNER/NAME]")
@_json
def verify(repo: str | None, as_json: bool) -> None:
    """Read every byte of the weights that are here, of one model or of all, and compare with the manifests.

    The exit code is 0 if all is as it was fetched, and 113 if something is damaged or missing.
    """
    from maw.cli.weights_text import progress
    from maw.cli.workspace import current
    from maw.models.weights import check_repo

    if repo:
        check_repo(repo)
    store = _store(current())
    found = store.installed(repo or None)
    if repo and not found:
        raise Misuse(reason=f"There are no weights of {repo}. Get them with `maw weights fetch {repo}`.")
    with progress("verify") as shown:
        shown.begin(sum(one.manifest.size for one in found if one.manifest))
        problems = [(one, store.problems(one, shown.at)) for one in found]
    damaged = [(one, wrong) for one, wrong in problems if wrong]
    if as_json:
        listed = [{**_installed(one), "problems": wrong} for one, wrong in problems]
        _print({"schema": "maw.weights-verify/1", "revisions": listed, "ok": not damaged})
    else:
        for one, wrong in problems:
            click.echo(f"{'damaged' if wrong else 'good'}: {one.repo} {one.revision}")
            for line in wrong:
                click.echo(f"  {printable(line)}")
    if damaged:
        one, wrong = damaged[0]
        raise WeightsDamaged(path=one.folder, reason=wrong[0], repo=one.repo, revision=one.revision)


@command.command("prune", short_help="Remove old revisions, and what stopped fetches left.")
@click.option(
    "--keep", type=click.IntRange(0), default=None, help="Kept beside the one in use; weights.keep."
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@_json
def prune(keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove old revisions of every model, never the one in use, and what stopped fetches left."""
    from maw.cli.weights_text import show_pruned
    from maw.cli.workspace import current
    from maw.models.weights_store import to_prune

    context = current()
    store = _store(context)
    number = context.settings.weights.keep if keep is None else keep
    old, left = to_prune(store.installed(), number), store.leftovers()
    busy: list[str] = []
    if not dry_run:
        old, left, busy = store.prune(number)
    if as_json:
        _print(
            {
                "schema": "maw.weights-prune/1",
                "dry_run": dry_run,
                "keep": number,
                "changed": bool(old or left) and not dry_run,
                "removed": [_installed(one) for one in old],
                "unfinished": [_leftover(one) for one in left],
                "busy": busy,
            }
        )
    else:
        show_pruned(old, left, busy, dry_run=dry_run)


def _print(shown: Mapping[str, Any]) -> None:
    click.echo(json.dumps(shown, ensure_ascii=False))


def _place(context: Context, setting: str) -> Path:
    return context.workspace.root / Path(setting).expanduser()


def _store(context: Context) -> Store:
    from maw.models.weights_store import Store

    return Store(_place(context, context.settings.weights.folder or "weights"))


def _hub(context: Context) -> Any:
    """Return the way to the hub. The token is read only when the hub is asked."""
    from maw.models.weights_hub import Hub
    from maw.models.weights_token import read_token

    settings = context.settings.weights
    path = _place(context, settings.token_file)
    return Hub(read_token(path, os.environ), path, silence_seconds=settings.silence_seconds)


def _outcome(done: Outcome) -> dict[str, Any]:
    missing = set(done.missing)
    return {
        "repo": done.repo,
        "revision": done.revision,
        "licence": done.licence,
        "folder": str(done.folder),
        "changed": done.changed,
        "bytes": done.size,
        "free_bytes": done.free,
        "files": [
            {"path": one.path, "size": one.size, "sha256": one.sha256, "fetched": one.path in missing}
            for one in done.files
        ],
        "skipped": [asdict(one) for one in done.skipped],
    }


def _installed(one: Installed) -> dict[str, Any]:
    known = one.manifest
    files: Sequence[Any] = known.files if known else ()
    return {
        "repo": one.repo,
        "revision": one.revision,
        "folder": str(one.folder),
        "current": one.current,
        "licence": known.licence if known else None,
        "fetched_at": known.fetched_at if known else None,
        "bytes": known.size if known else None,
        "files": [asdict(file) for file in files],
        "problem": one.problem,
    }


def _leftover(one: Leftover) -> dict[str, Any]:
    return {"repo": one.repo, "folder": str(one.folder), "bytes": one.size}
