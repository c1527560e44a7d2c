"""Progress of `pilotfish up`: a live table on a terminal, one line for each change elsewhere."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pilotfish.base.keys import DEFAULT_NAMESPACE, Key
from pilotfish.local.events import Phase, PoolEvent

MEGABYTE = 1_000_000
PROGRESS_LINE_SECONDS = 10.0
"""Seconds between two lines about the progress of a phase, without a terminal."""
AWAITED_LINE_SECONDS = 20.0
"""Seconds without a line after which a line reports what is awaited, without a terminal."""

_STYLES = {
    Phase.READY: "green",
    Phase.PREPARED: "green",
    Phase.FAILED: "red",
    Phase.REMOVED: "dim",
    Phase.AT_ZERO: "dim",
}
_AT_REST = {Phase.READY, Phase.PREPARED, Phase.FAILED, Phase.REMOVED, Phase.AT_ZERO}


def pool_name(key: Key) -> str:
    """The pool's name, with its namespace unless it is the default."""
    return key.name if key.namespace == DEFAULT_NAMESPACE else key.path


@dataclass
class _Row:
    event: PoolEvent
    began: float
    phase_began: float
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))
    said: float = 0.0


class Display:
    """Shows events of pools. A live table is drawn if `console` is a terminal."""

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic, *, log: Path | None = None
    ) -> None:
        """`log` is the file that has the details of failures."""
        self._console = console
        self._clock = clock
        self._log = log
        self._said = clock()
        self._rows: dict[Key, _Row] = {}
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def console(self) -> Console:
        """The console to print to."""
        return self._console

    def say(self, text: str) -> None:
        """Print one line."""
        self._said = self._clock()
        self._console.print(text, markup=False)

    async def say_what_is_awaited(self) -> NoReturn:
        """Without a terminal: say now and then what is awaited while nothing else is said."""
        while True:
            await asyncio.sleep(max(0.0, self._said + AWAITED_LINE_SECONDS - self._clock()))
            self.awaited()

    def awaited(self) -> None:
        """Say what is awaited, if anything is and no line came for long."""
        now = self._clock()
        if now - self._said < AWAITED_LINE_SECONDS:
            return
        self._said = now
        if self._rows and not self._console.is_terminal:
            waits = [
                f"{pool_name(key)} ({row.event.phase} for {now - row.phase_began:.0f} s)"
                for key, row in self._rows.items()
            ]
            self.say(f"waiting for {', '.join(waits)}")

    def on_event(self, event: PoolEvent) -> None:
        """Show one event."""
        now = self._clock()
        row = self._rows.get(event.key)
        if row is None or (row.event.phase in _AT_REST and event.phase not in _AT_REST):
            row = self._rows[event.key] = _Row(event, now, now)
        elif row.event.phase != event.phase:
            row.phase_began = now
        elif not self._line_due(row, event, now):
            row.event = event
            return
        row.event, row.said = event, now
        if not self._console.is_terminal or event.phase in _AT_REST or event.phase is Phase.RETRYING:
            self.say(self._line(row, now))
        if event.phase in _AT_REST:
            self._rows.pop(event.key, None)

    def _line_due(self, row: _Row, event: PoolEvent, now: float) -> bool:
        """Whether an event of the phase of before is worth a line. The text of a preparation changes at each step."""
        if event.phase in _AT_REST or (event.text != row.event.text and event.phase is not Phase.PREPARING):
            return True
        return bool(event.total) and not self._console.is_terminal and now - row.said >= PROGRESS_LINE_SECONDS

    def _line(self, row: _Row, now: float) -> str:
        event = row.event
        parts = [f"{pool_name(event.key)}: {event.phase}"]
        if event.total:
            parts.append(_amount(event))
        if event.text:
            parts.append(event.text)
        if event.phase in {Phase.READY, Phase.PREPARED, Phase.FAILED}:
            parts.append(f"after {now - row.began:.1f} s")
        if event.phase in {Phase.FAILED, Phase.RETRYING} and self._log:
            parts.append(f"details in {self._log}")
        return ", ".join(parts)

    def _table(self) -> Table:
        now = self._clock()
        table = Table.grid(padding=(0, 2))
        for key, row in self._rows.items():
            event = row.event
            bar = ProgressBar(total=event.total, completed=event.done, width=30) if event.total else Text("")
            label = Text(str(event.phase), style=_STYLES.get(event.phase, ""))
            amount = Text(_amount(event) if event.total else f"{now - row.phase_began:.0f} s", style="dim")
            table.add_row(row.spinner, Text(pool_name(key), style="bold"), label, bar, amount)
        return table


def _amount(event: PoolEvent) -> str:
    if event.phase is Phase.PREPARING:
        return f"{event.done:,} of {event.total:,}"
    return f"{event.done / MEGABYTE:,.0f} of {event.total / MEGABYTE:,.0f} MB"
