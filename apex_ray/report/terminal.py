"""A table that stays at the bottom of a terminal, with lines above it."""

from __future__ import annotations

import math
import signal
import textwrap
import threading
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

WIDEST = 100  # columns: a wider table would only spread its figures
INDENT = " " * 9  # of what goes on below a line that begins with a time


class Table:
    """Draws what `render(columns)` returns, all of whose lines are that wide; `print_above` prints a line that stays.

    Drawn by who calls `draw`, one thread at a time, and on SIGWINCH in the main thread: no thread of its own could draw
    over an error message. A terminal that gets narrower breaks the lines that it shows; they are taken away as they are
    by then.
    """

    def __init__(self, stream: TextIO, render: Callable[[int], RenderableType]) -> None:
        self._console = Console(file=stream, force_terminal=True, highlight=False, markup=False)
        self._render = render
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=lambda: render(self._columns))
        self._drawn_columns = self._drawn_rows = 0
        self._drawing = self._resized = False
        self._lock = threading.RLock()  # a signal's handler may come while its own thread draws
        self._before: Any = None

    @property
    def _columns(self) -> int:
        return min(self._console.width, WIDEST)

    def start(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGWINCH, self._on_resize)
        self._live.start()
        self.draw()

    def stop(self) -> None:
        """Draw once more, and give the terminal back."""
        with self._lock:
            self._draw(self._live.stop)
        if self._before is not None:
            signal.signal(signal.SIGWINCH, self._before)

    def draw(self) -> None:
        with self._lock:
            self._draw(self._live.refresh)

    def print_above(self, text: str) -> None:
        """Long lines go on at a word; what has no space, such as a path, is whole for who copies it."""
        lines = [part for line in text.splitlines() for part in _wrapped(line, self._console.width)]
        with self._lock:
            self._draw(lambda: self._console.print(Text("\n".join(lines)), soft_wrap=True))

    def _on_resize(self, number: int, frame: object) -> None:
        if self._drawing:  # the handler runs between two steps of a drawing
            self._resized = True
        else:
            self.draw()

    def _draw(self, draw: Callable[[], None]) -> None:
        self._drawing, columns = True, self._columns
        try:
            self._take_away_what_broke()
            draw()
            self._drawn_columns = columns
            self._drawn_rows = min(len(self._console.render_lines(self._render(columns))), self._console.height)
        finally:
            self._drawing = False
        if self._resized:
            self._resized = False
            self.draw()

    def _take_away_what_broke(self) -> None:
        """The cursor to where it would be had the last drawing's lines not been broken since."""
        more = self._drawn_rows * (math.ceil(self._drawn_columns / self._console.width) - 1)
        if more > 0:
            self._console.control(
                Control(
                    ControlType.CARRIAGE_RETURN,
                    *[(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * more,
                )
            )


def _wrapped(line: str, columns: int) -> list[str]:
    if len(line) <= columns:
        return [line]
    return textwrap.wrap(line, columns, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)
