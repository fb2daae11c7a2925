"""Copies what a process writes into a run's working folder to the run's URI, beside its work."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from trainkit.errors import UserError
from trainkit.fetching import Share, beside, fetch, mark_newest, newest_here, sealed_in
from trainkit.manifest import MANIFEST, DamagedError, listed
from trainkit.storage import Store, make_working_folder, reason
from trainkit.words import Say

LOOK_S = 1.0  # between two looks at what is new
FILE_EVERY_S = 10.0  # between two copies of a file that grows, at least,
FILE_SHARE = 10  # and this many times what the last one took
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # after a failure; twice as long after each
TOLD_AFTER = 3  # failures in a row
END_PAUSE_S = 2.0  # the longest, when the run waits for the end
PATIENCE_S = 60.0  # without anything sent, until the end is not waited for any more
FETCH_S = 60.0  # of trying to fetch what a process can't start without
SENDING = ".sending"  # in the working folder: links to what is on its way


class Sender:
    """Has the store follow the files of one share of a working folder, until it is closed.

    A sealed folder is sent with its manifest last. What is in the place of another one is whole beside it before that
    one goes. Folders that are removed here are removed there after all that is newer is there. Nothing else is ever
    deleted there. What fails is tried again, and `say` gets a line when that lasts.
    """

    def __init__(self, run: Path, store: Store, share: Share, say: Say, who: str = "") -> None:
        self._run, self._store, self._share, self._say = run, store, share, say
        self._name = f"{f'{who}: ' if who else ''}{store.uri}"
        self._sent: dict[str, str] = {}  # what lies at a path: a file's SHA-256 where it is sealed, else its stamp
        self._whole: dict[str, bytes] | None = None  # the manifest of each sealed folder there; None: not looked yet
        self._due: dict[str, float] = {}  # when a file that grows may be sent again
        self._doing, self._failed = "", ""
        self._moved_at = time.monotonic()
        self._closing, self._left = threading.Event(), threading.Event()
        self._problem = "not tried yet"
        self._thread = threading.Thread(target=self._work, name=f"sends {share.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send_now(self, *names: str) -> None:
        """Send these files, waited for, before `start`. OSError where that fails."""
        for name in names:
            self._send_file(name)

    def close(self, patience_s: float = PATIENCE_S) -> str:
        """Send what is left, waited for as long as anything gets there: why the rest could not be sent; "" if all is.

        `patience_s`: how long nothing may get there until the rest is left.
        """
        began = time.monotonic()
        self._closing.set()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if time.monotonic() - max(began, self._moved_at) > patience_s:
                break
        self._left.set()
        return self._problem

    def _work(self) -> None:
        failures, told = 0, False
        while not self._left.is_set():
            closing, moved_at = self._closing.is_set(), self._moved_at
            try:
                self._send_all(at_once=closing)
            except Exception as error:
                self._failed, self._problem = self._doing, reason(error)
                failures = failures + 1 if self._moved_at == moved_at else 1
                if failures >= TOLD_AFTER and not told:
                    told = True
                    self._tell(f"can't be written: {self._problem}; the run goes on, and tries again")
                pause_s = min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S)
                if closing:
                    self._left.wait(min(pause_s, END_PAUSE_S))
                else:
                    self._closing.wait(pause_s)
                continue
            self._failed, self._problem, failures = "", "", 0
            if told:
                told = False
                self._tell("is written to again")
            if closing:
                return
            self._closing.wait(LOOK_S)

    def _tell(self, text: str) -> None:
        with suppress(Exception):  # whoever passes it on may have been lost: no reason to send nothing more
            self._say(f"{self._name} {text}")

    def _send_all(self, at_once: bool) -> None:
        """Send what is new, what failed last at the end. OSError of the first that fails."""
        self._doing = ""
        if self._whole is None:
            there = sealed_in(self._store.files(), self._share)
            self._whole = {name: self._store.read(f"{lies}/{MANIFEST}") for name, lies in there.items()}
            for name, lies in there.items():
                if lies != name:
                    self._put_in_place(name)
        folders = self._share.folders_in(self._run)
        jobs: dict[str, Callable[[], None]] = {}
        for name in self._share.files_in(self._run):
            if at_once or time.monotonic() >= self._due.get(name, 0.0):
                jobs[name] = partial(self._send_file, name)
        jobs |= {name: partial(self._send_sealed, name, self._whole) for name in folders}
        for name in sorted(jobs, key=lambda name: name == self._failed):
            self._doing = name
            jobs[name]()
        for name in [name for name in self._whole if name not in folders]:
            self._doing = name
            self._store.delete(f"{name}/{MANIFEST}")
            self._store.delete_folder(name)
            self._gone(f"{name}/")
            del self._whole[name]

    def _send_file(self, name: str) -> None:
        file, began = self._run / name, time.monotonic()
        try:
            state = file.stat()
        except FileNotFoundError:
            return
        stamp = f"{state.st_mtime_ns} {state.st_size} {state.st_ino}"
        if self._sent.get(name) == stamp:
            return
        try:
            self._store.put(file, name)
        except OSError:
            if file.exists():
                raise
            return
        self._moved(name, stamp)
        self._due[name] = time.monotonic() + max(FILE_EVERY_S, FILE_SHARE * (time.monotonic() - began))

    def _send_sealed(self, name: str, whole: dict[str, bytes]) -> None:
        """One that changes or goes meanwhile is left for the next time."""
        held = self._run / SENDING / self._share.name
        try:
            content = (self._run / name / MANIFEST).read_bytes()
            if whole.get(name) == content:
                return
            sealed = listed(content)
            _hold(self._run / name, sealed, held)
        except (DamagedError, FileNotFoundError):
            return
        try:
            self._send_held(name, held, sealed, content, whole)
        finally:
            shutil.rmtree(held, ignore_errors=True)

    def _send_held(
        self, name: str, held: Path, sealed: Mapping[str, str], content: bytes, whole: dict[str, bytes]
    ) -> None:
        there = listed(whole[name]) if name in whole else {}
        taken = [file for file in sealed if there.get(file, sealed[file]) != sealed[file]]
        lies = beside(name) if taken else name
        for file, sha256 in sealed.items():
            path = f"{lies}/{file}"
            if self._sent.get(path) != sha256 and (taken or file not in there):
                self._store.put(held / file, path)
                self._moved(path, sha256)
        self._store.write(f"{lies}/{MANIFEST}", content)
        if taken:
            self._put_in_place(name)
        else:
            for file in there.keys() - sealed.keys():
                self._store.delete(f"{name}/{file}")
                self._gone(f"{name}/{file}")
        whole[name] = content
        self._moved(f"{lies}/{MANIFEST}", "")

    def _put_in_place(self, name: str) -> None:
        """Have the folder be the whole one that lies beside it, which counts until that is done."""
        lies = beside(name)
        self._store.delete(f"{name}/{MANIFEST}")
        sealed = listed(self._store.read(f"{lies}/{MANIFEST}"))
        for file, sha256 in sealed.items():
            if self._sent.get(f"{name}/{file}") != sha256:
                self._store.copy(f"{lies}/{file}", f"{name}/{file}")
                self._moved(f"{name}/{file}", sha256)
        self._store.copy(f"{lies}/{MANIFEST}", f"{name}/{MANIFEST}")
        self._store.delete(f"{lies}/{MANIFEST}")
        self._store.delete_folder(lies)
        self._gone(f"{lies}/")

    def _gone(self, prefix: str) -> None:
        self._sent = {path: what for path, what in self._sent.items() if not path.startswith(prefix)}

    def _moved(self, path: str, what: str) -> None:
        self._sent[path], self._moved_at = what, time.monotonic()


def not_sent(uri: str, who: str, problem: str) -> str:
    """The line for what `close` tells of."""
    return f"{uri} lacks the newest files of {who} ({problem}); going on with the run from that machine sends them"


def _hold(folder: Path, files: Iterable[str], held: Path) -> None:
    """Give the files a second name in the folder `held`, so that they stay though they are deleted meanwhile."""
    shutil.rmtree(held, ignore_errors=True)
    held.mkdir(parents=True)
    for file in files:
        try:
            os.link(folder / file, held / file)
        except FileNotFoundError:
            raise
        except OSError:  # a filesystem without links
            shutil.copyfile(folder / file, held / file)


def fetch_share(run: Path, uri: str, share: Share, starts: Collection[str]) -> None:
    """Have all that the URI has of a share in the working folder `run`, before its process writes there.

    What one of these starts of the run wrote last, on this machine, counts as it is here. UserError where the rest
    can't be fetched.
    """
    make_working_folder(uri, run)
    newest, until = newest_here(run, starts), time.monotonic() + FETCH_S
    wanted = replace(share, sealed=(*share.sealed, *share.reads))
    while True:
        try:
            fetch(Store(uri), run, wanted, newest)
            return
        except OSError as error:
            if all(newest(pattern) for pattern in (*share.sealed, *share.files)):
                return  # a process that was lost goes on here, also while nothing can be fetched
            if time.monotonic() > until:
                raise UserError(f"{uri} can't be read: {reason(error)}") from None
            time.sleep(FIRST_PAUSE_S)


def sender_of(run: Path, uri: str, share: Share, start: str, say: Say, who: str = "") -> Sender:
    """Of a share that was fetched; from now on it is written here. Not started yet."""
    mark_newest(run, share, start)
    return Sender(run, Store(uri), share, say, who)
