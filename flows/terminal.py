"""What the commands share in talking to a person: one-sentence errors, logs, progress bars."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from extraction.records import SourceError

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True, highlight=False)


class Faults:
    """Tells the faults of a run in one sentence each, and counts them, so that the rest goes on."""

    def __init__(self, debug: bool) -> None:
        self.count = 0
        self._debug = debug
        logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(name)s: %(message)s")

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell and count an error of one source, its output, or a template; others pass."""
        from templates.catalogue import TemplateError

        try:
            yield
        except (SourceError, TemplateError, OSError) as error:
            self.tell(error)

    def tell(self, error: Exception) -> None:
        """Tell and count an error that is being handled."""
        self.count += 1
        err.print(f"[red]error:[/red] {_sentence(error)}", markup=True)
        if self._debug:
            err.print(traceback.format_exc(), markup=False)

    def exit(self) -> None:
        """End the command: code 1 when anything failed."""
        if self.count:
            raise typer.Exit(1)


@contextmanager
def faults_told(debug: bool) -> Iterator[Faults]:
    """Run a command: a fault that it does not tell itself is told and ends it; with any its exit code is 1."""
    faults = Faults(debug)
    with faults.told():
        yield faults
    faults.exit()


def _sentence(error: Exception) -> str:
    from rich.markup import escape

    if isinstance(error, OSError) and error.filename and error.strerror:
        return escape(f"{error.filename}: {error.strerror.lower()}; mend that and run the command again")
    return escape(str(error))


def print_json(value: object) -> None:
    """On standard output, plainly: no colours, no wrapping."""
    print(json.dumps(value, indent=2))


def wrong_usage(message: str) -> typer.BadParameter:
    """An error in how the command was written: exit code 2."""
    return typer.BadParameter(message)


@contextmanager
def live(draw: Callable[[int], RenderableType]) -> Iterator[None]:
    """While a block runs, keep what ``draw(lines)`` gives on standard error; nothing where that is no terminal."""
    if not err.is_terminal:
        yield
        return
    with Live(get_renderable=lambda: draw(err.height), console=err, transient=True, redirect_stdout=False):
        yield


def progress_bar() -> Progress:
    """Bars on standard error; silent when that is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    return Progress(*columns, TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal)


@contextmanager
def part_done(bar: Progress, name: str) -> Iterator[Callable[[float], None]]:
    """A task of a bar as long as it goes on; gives what hears the part of it that is done, in [0, 1]."""
    task = bar.add_task(name, total=1.0)
    try:
        yield lambda part: bar.update(task, completed=part)
    finally:
        bar.remove_task(task)
