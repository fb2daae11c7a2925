"""The table at the bottom of a terminal, on a terminal that breaks its lines anew when it gets narrower."""

import os
import re
import signal
import threading

import pytest
from rich.panel import Panel

from apex_ray.report.terminal import Table


class Screen:
    """A terminal without an end: lines of text, a cursor, and the few codes that are used here."""

    def __init__(self) -> None:
        self.lines, self.row = [""], 0

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if part == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
            elif part.startswith("\x1b["):
                if part.endswith("A"):
                    self.row -= int(part[2:-1])
                    assert self.row >= 0, "above the top"
                elif part == "\x1b[2K":
                    self.lines[self.row] = ""
            elif part != "\r":
                self.lines[self.row] += part
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True

    def narrow(self, columns: int) -> None:
        """Break what is longer; the cursor stays behind what it was behind."""
        above = self.lines[: self.row + 1]
        parts = [[line[i : i + columns] for i in range(0, max(len(line), 1), columns)] for line in above]
        self.lines = [part for line in parts for part in line]
        self.row = len(self.lines) - 1


@pytest.mark.parametrize("widths", [(80, 60), (80, 30), (80, 39, 20), (60, 90, 50), (300, 120), (80, 60, 60)])
def test_no_part_of_the_old_table_stays_after_the_terminal_was_resized(monkeypatch, widths):
    screen, columns = Screen(), widths[0]
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *descriptor: os.terminal_size((columns, 24)))
    table = Table(screen, lambda columns: Panel("figures", width=columns))
    table.start()
    table.print_above("an event")
    for columns in widths[1:]:
        screen.narrow(columns)
        signal.raise_signal(signal.SIGWINCH)
        shown = [line for line in screen.lines if line]
        assert shown[0] == "an event" and len(shown) == 4, shown
        assert {len(line) for line in shown[1:]} == {min(columns, 100)}
    table.stop()
    assert signal.getsignal(signal.SIGWINCH) == signal.SIG_DFL


def test_one_thread_draws_at_a_time(monkeypatch):
    """The watchdog's says what it has to while the main thread draws."""
    inside, go_on, screen = threading.Event(), threading.Event(), Screen()
    table = Table(screen, lambda columns: Panel("figures", width=columns))
    table.start()
    take_away = table._take_away_what_broke

    def slowly():
        if threading.current_thread() is drawing:
            inside.set()
            assert go_on.wait(60)
        take_away()

    monkeypatch.setattr(table, "_take_away_what_broke", slowly)
    drawing = threading.Thread(target=table.draw)
    saying = threading.Thread(target=table.print_above, args=("environment 0 hangs",))
    drawing.start()
    assert inside.wait(60)
    saying.start()
    saying.join(0.3)
    assert saying.is_alive() and "environment 0 hangs" not in screen.lines
    go_on.set()
    drawing.join()
    saying.join()
    table.stop()
    assert "environment 0 hangs" in screen.lines


def test_lines_above_go_on_at_a_word_and_a_path_stays_whole(monkeypatch):
    screen = Screen()
    monkeypatch.setenv("COLUMNS", "40")
    table = Table(screen, lambda columns: Panel("figures", width=columns))
    table.start()
    table.print_above("00:00:00 one two three four five six seven eight nine\n00:00:01 in " + "p" * 50)
    table.stop()
    assert screen.lines[:4] == [
        "00:00:00 one two three four five six",
        "         seven eight nine",
        "00:00:01 in",
        "         " + "p" * 50,
    ]
