"""`maw pipeline` and `maw summarize`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maw.errors import Interrupted, MawError, Misuse, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.cli.workspace import Context
    from maw.pipeline.report import Document, Report, Request
    from maw.topology import Host


def _shared(function: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.argument("src", nargs=-1, required=True),
        click.option(
            "--engine", default=None, help="Summarizer engine (default: pipeline.engine in maw.toml)."
        ),
        click.option(
            "--on", default=None, metavar="HOST", help="Host that summarises: a name, local or auto."
        ),
        click.option(
            "--sentences", type=click.IntRange(1, 100), default=None, help="Sentences of each summary."
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object (docs/schema/pipeline.json)."
        ),
        click.option(
            "--save-text",
            type=click.Path(path_type=Path, file_okay=False),
            default=None,
            metavar="DIR",
            help="Write the text that offsets count in to DIR, a file a document.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("pipeline", short_help="Summarise, digest and record documents.")
@_shared
@click.option("--question", default=None, metavar="TEXT", help="What the digest should answer.")
def pipeline(question: str | None, **options: Any) -> None:
    """Summarise SRC… (files, folders, URLs, - for standard input), digest them, record it in ψ."""
    _run(question=question, analyse=True, **options)


@click.command("summarize", short_help="Summarise documents.")
@_shared
def summarize(**options: Any) -> None:
    """Summarise SRC… (files, folders, URLs, - for standard input)."""
    _run(question=None, analyse=False, **options)


def _run(*, src: tuple[str, ...], as_json: bool, on: str | None, **options: Any) -> None:
    from maw.cli.workspace import current
    from maw.models import engines
    from maw.pipeline.report import Request
    from maw.text.sources import plan_sources

    question = options["question"]
    if question is not None and not question.strip():
        raise Misuse(reason="The question is empty. Leave --question out, or ask something.")
    context = current()
    chosen = context.settings.pipeline
    engine = options["engine"] or chosen.engine
    engines.check_name(engine)
    sources, skipped = plan_sources(src)
    request = Request(
        sources=sources,
        skipped=skipped,
        question=question,
        engine=engine,
        sentences=options["sentences"] or chosen.sentences,
        citations=chosen.citations,
        analyse=options["analyse"],
        save_text=options["save_text"],
        document_bytes=context.settings.text.document_megabytes * 1_000_000,
    )
    try:
        host = context.pick(on or chosen.on)
        if host is None and (on or chosen.on) == "auto":
            click.echo(
                "maw: the inventory has no satellite of yours yet, so this machine summarises", err=True
            )
        report = execute(context, request, host, quiet=as_json)
    except Misuse:
        raise
    except MawError as error:
        if as_json:
            _print_failure(error, question)
        raise
    if as_json:
        import json

        click.echo(json.dumps(report.as_json(), ensure_ascii=True))
    else:
        conclude(report)
    if report.failure is not None:
        raise report.failure


def execute(context: Context, request: Request, host: Host | None, *, quiet: bool) -> Report:
    """Given a request and the host that summarises (None is this machine), carry it out."""
    from maw.cli import show
    from maw.offload.client import WorkerClient, worker_arguments
    from maw.offload.jobs import Ledger
    from maw.pipeline.run import Pipeline

    for skipped in request.skipped if not quiet else ():
        click.echo(f"maw: skipped {printable(skipped.name)}: {printable(skipped.reason)}", err=True)
    settings = context.settings
    command = host.worker_command if host else (sys.executable, "-m", "maw.offload.worker")
    arguments = [*command, *worker_arguments(settings.offload, settings.text)]
    counted = {"settled": 0}
    with (
        Ledger(context.workspace.state / "ledger.sqlite3") as ledger,
        context.transport(host, warm=True) as transport,
        show.progress(len(request.sources), transport.host) as bar,
    ):

        def settled(document: Document) -> None:
            counted["settled"] += 1
            bar.advance(document.source)
            if not quiet:
                show.document(document)

        run = Pipeline(
            request,
            ledger=ledger,
            connect=lambda: WorkerClient(transport, arguments, lease=settings.offload.lease),
            host=transport.host,
            stdin=sys.stdin.buffer,
            on_document=settled,
        )
        try:
            return run.run(context.workspace.soul if request.analyse else None)
        except KeyboardInterrupt:
            after = f" after {counted['settled']} of {len(request.sources)} documents"
            raise Interrupted(after=after) from None


def conclude(report: Report) -> None:
    """Print the digest of a report, and what was checked, if all of it is done."""
    from maw.cli import show

    if report.analysis is not None:
        show.analysis(report.analysis, report.question)
    if report.status != "done":
        return
    done = sum(document.status == "done" for document in report.documents)
    words = [f"{done} summarised"]
    if len(report.documents) > done:
        words.append(f"{len(report.documents) - done} duplicates")
    if report.analysis is not None:
        words.append(f"{len(report.analysis.citations)} citations checked")
    if report.record:
        words.append(f"recorded in {printable(report.record)}")
    show.say()
    show.say(f"{show.style('done', fg='green', bold=True)} in {report.seconds:.1f} s: {', '.join(words)}")


def _print_failure(error: MawError, question: str | None) -> None:
    import json

    from maw.pipeline.report import Report

    report = Report("failed", question, "", 0.0, [], [], failure=error)
    click.echo(json.dumps(report.as_json()))
