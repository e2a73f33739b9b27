"""Invoke tasks: maw's verbs (generated), and the developers' chores. See `inv --list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from invoke.tasks import task

from maw.tasks import collection

if TYPE_CHECKING:
    from invoke.context import Context
    from invoke.tasks import Task

ns = collection()


@task
def test(context: Context) -> None:
    """Run everything that CI runs."""
    context.run("make test", pty=False, in_stream=False)


@task
def lint(context: Context) -> None:
    """Run ruff, mypy, the import contract and ansible-lint."""
    context.run("make lint", pty=False, in_stream=False)


@task
def bench(context: Context) -> None:
    """Measure maw beside its peers; one line per figure."""
    context.run("make bench", pty=False, in_stream=False)


for chore in (test, lint, bench):
    # The decorator's annotation hides that it returns a Task.
    ns.add_task(cast("Task[Any]", chore))
