"""What is in a working folder gets to its URI and back, whole or not at all, whatever fails in between."""

import hashlib
import threading

import pytest
from pyarrow.fs import LocalFileSystem

from trainkit import sending, storage
from trainkit.errors import UserError
from trainkit.fetching import Share, fetch, mark_newest, newest_here
from trainkit.manifest import MANIFEST, check, seal, sealed_files
from trainkit.sending import Sender, fetch_share, sender_of
from trainkit.storage import Store, kept_at, shown

URI = "hdfs://store/runs/pong"  # which here is a folder
SHARE = Share(
    "all",
    sealed=("checkpoints/update-*", "checkpoints/best", "replay/shard-*"),
    files=("*",),
    but=("checkpoints/*", "replay/*"),
)


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The folder that is behind URI."""
    monkeypatch.setattr(storage, "filesystem", lambda uri: (LocalFileSystem(), str(tmp_path / "there")))
    return tmp_path / "there"


class Dying(Store):
    """Does `left` more things and then nothing any more, as a process that is killed."""

    left = 10**9

    def _spend(self):
        if not self.left:
            raise OSError("killed")
        self.left -= 1

    def write(self, name, content):
        self._spend()
        super().write(name, content)

    def put(self, file, name):
        self._spend()
        super().put(file, name)

    def copy(self, name, to):
        self._spend()
        super().copy(name, to)

    def delete(self, name):
        self._spend()
        super().delete(name)

    def delete_folder(self, name):
        self._spend()
        super().delete_folder(name)


def sealed(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    seal(folder)


def content(run):
    """Of all files that count."""
    files = [path for path in run.rglob("*") if path.is_file() and SHARE.has_file(path.relative_to(run).as_posix())]
    folders = [run / name for name in SHARE.folders_in(run)]
    for folder in folders:
        check(folder, sealed_files(folder))
    inside = [path for folder in folders for path in folder.iterdir()]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in (*files, *inside)}


def before(run):
    sealed(run / "checkpoints" / "update-1", online="1", target="1")
    sealed(run / "checkpoints" / "update-2", online="2", target="2")
    sealed(run / "checkpoints" / "best", online="1")
    sealed(run / "replay" / "shard-0", segments1="a", segments2="b", state1="1")
    (run / "metrics.jsonl").write_text("row\n")


def after(run):
    """A checkpoint more and one less, another best, a snapshot with new files and without old ones."""
    sealed(run / "checkpoints" / "update-3", online="3", target="3")
    for path in (run / "checkpoints" / "update-1").iterdir():
        path.unlink()
    (run / "checkpoints" / "update-1").rmdir()
    sealed(run / "checkpoints" / "best", online="3")
    sealed(run / "replay" / "shard-0", segments2="b", segments3="c", state2="2")
    (run / "metrics.jsonl").write_text("row\nrow\n")


def send(run, store):
    Sender(run, store, SHARE, print)._send_all(at_once=True)


def brought(store, folder):
    folder.mkdir()
    fetch(store, folder, SHARE)
    return content(folder)


def test_what_was_sent_comes_back(there, tmp_path):
    run, store = tmp_path / "here", Store(URI)
    before(run)
    send(run, store)
    assert brought(store, tmp_path / "one") == content(run)
    after(run)
    send(run, store)
    assert brought(store, tmp_path / "two") == content(run)
    fetch(store, tmp_path / "one", SHARE)
    assert content(tmp_path / "one") == content(run), "what is not there any more goes here, too"
    names = {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}
    assert names == set(content(run)), "nothing else is left there"


def test_killed_at_any_moment_what_is_there_is_whole(tmp_path, monkeypatch):
    """And a process that goes on after it brings everything there."""
    steps, done = 0, False
    while not done:
        run, folder = tmp_path / f"run-{steps}", str(tmp_path / f"there-{steps}")
        monkeypatch.setattr(storage, "filesystem", lambda uri, folder=folder: (LocalFileSystem(), folder))
        store = Dying(URI)
        before(run)
        send(run, store)
        old = content(run)
        after(run)
        store.left = steps
        try:
            send(run, store)
            done = True
        except OSError:
            pass
        new, found = content(run), brought(Store(URI), tmp_path / f"found-{steps}")
        for name in ("checkpoints/best/online", "metrics.jsonl"):
            assert found[name] in (old[name], new[name]), (steps, name)
        assert "checkpoints/update-2/online" in found, steps
        assert "checkpoints/update-1/online" in found or "checkpoints/update-3/online" in found, steps
        assert [name for name in found if "state" in name] in (["replay/shard-0/state1"], ["replay/shard-0/state2"])
        store.left = 10**9
        send(run, store)
        assert brought(Store(URI), tmp_path / f"at-last-{steps}") == new, steps
        steps += 1
    assert steps > 15


def test_what_is_not_whole_stays_here(there, tmp_path):
    run, store = tmp_path / "here", Store(URI)
    sealed(run / "checkpoints" / "update-1", online="1")
    half = run / "checkpoints" / "update-2"
    half.mkdir()
    (half / "online").write_text("2")
    (run / "checkpoints" / ".update-3.partial").mkdir()
    (run / "checkpoints" / ".update-3.partial" / MANIFEST).write_text("{}")
    (run / "serial.partial").write_text("half")
    lacks = run / "checkpoints" / "update-4"
    sealed(lacks, online="4", target="4")
    (lacks / "target").unlink()  # as one that changes while it is looked at
    send(run, store)
    assert set(store.files()) == {"checkpoints/update-1/online", f"checkpoints/update-1/{MANIFEST}"}


def test_what_is_half_there_does_not_count(there, tmp_path):
    store = Store(URI)
    store.write("checkpoints/update-1/online", b"1")
    assert brought(store, tmp_path / "one") == {}
    store.write(f"checkpoints/.best.new/{MANIFEST}", b"{}")
    fetch(store, tmp_path / "one", SHARE)
    assert not (tmp_path / "one" / "checkpoints" / "best" / "online").exists()


class Bad(Store):
    """Fails until it is `good`."""

    def __init__(self, uri):
        super().__init__(uri)
        self.good, self.failed = threading.Event(), threading.Semaphore(0)

    def put(self, file, name):
        if not self.good.is_set():
            self.failed.release()
            raise OSError("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate")
        super().put(file, name)


def test_a_store_that_fails_is_told_of_once_and_tried_until_it_is_back(there, tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(sending, "LOOK_S", 0.01)
    run, store, said = tmp_path / "here", Bad(URI), []
    before(run)
    sender = Sender(run, store, SHARE, said.append, "learner")
    sender.start()
    for _ in range(5):
        assert store.failed.acquire(timeout=60)
    store.good.set()
    assert sender.close() == ""
    assert said == [
        f"learner: {URI} can't be written: Please reduce your request rate (SLOW_DOWN); "
        "the run goes on, and tries again",
        f"learner: {URI} is written to again",
    ]
    assert brought(store, tmp_path / "found") == content(run)


def test_the_end_is_not_waited_for_without_limit(there, tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 0.01)
    run, store = tmp_path / "here", Bad(URI)
    before(run)
    sender = Sender(run, store, SHARE, print)
    sender.start()
    assert store.failed.acquire(timeout=60)
    assert sender.close(patience_s=0.2) == "Please reduce your request rate (SLOW_DOWN)"


def test_words_that_reach_nobody_do_not_end_the_sending(there, tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 0.01)
    run, store = tmp_path / "here", Bad(URI)
    before(run)

    def lost(text):
        raise RuntimeError("the process that passes it on is gone")

    sender = Sender(run, store, SHARE, lost)
    sender.start()
    for _ in range(5):
        assert store.failed.acquire(timeout=60)
    store.good.set()
    assert sender.close() == "" and brought(store, tmp_path / "found") == content(run)


def test_a_file_that_grows_is_not_sent_each_time(there, tmp_path):
    run, store, sent = tmp_path / "here", Store(URI), []
    put = store.put
    store.put = lambda file, name: (sent.append(name), put(file, name))
    before(run)
    sender = Sender(run, store, SHARE, print)
    for _ in range(3):
        sender._send_all(at_once=False)
        with (run / "metrics.jsonl").open("a") as file:
            file.write("row\n")
    assert sent.count("metrics.jsonl") == 1 and sent.count("checkpoints/best/online") == 1
    sender._send_all(at_once=True)
    assert store.read("metrics.jsonl") == (run / "metrics.jsonl").read_bytes()


def test_a_snapshot_that_is_replaced_while_it_is_sent_gets_there_whole(there, tmp_path):
    run, store = tmp_path / "here", Store(URI)
    before(run)
    put = store.put

    def put_slowly(file, name):
        if name.endswith("segments1"):
            after(run)  # the shard's process does not wait
        put(file, name)

    store.put = put_slowly
    send(run, store)
    assert brought(store, tmp_path / "found")["replay/shard-0/state1"] == b"1"
    send(run, store)
    assert brought(store, tmp_path / "newer") == content(run)


def test_which_machine_has_the_newest(there, tmp_path):
    """Starts 1 and 3 were on this machine, 2 on another."""
    run, other = tmp_path / "here", tmp_path / "other"
    fetch_share(run, URI, SHARE, [])
    sender_of(run, URI, SHARE, "start-1", print)
    assert kept_at(run) == shown(run) == URI
    before(run)
    send(run, Store(URI))
    (run / "metrics.jsonl").write_text("row\nnot sent\n")
    sealed(run / "checkpoints" / "update-3", online="not sent")
    kept = content(run)
    fetch_share(run, URI, SHARE, ["start-1"])
    assert content(run) == kept, "killed before it was sent: it goes on with what is here"
    fetch_share(other, URI, SHARE, ["start-1"])
    assert content(other)["metrics.jsonl"] == b"row\n"
    sender_of(other, URI, SHARE, "start-2", print)
    after(other)
    send(other, Store(URI))
    fetch_share(run, URI, SHARE, ["start-2"])
    assert content(run) == content(other), "the run went on from what was sent"


def test_of_the_newest_only_what_lacks_is_fetched(there, tmp_path):
    """A process that was started on another machine and comes back to this one."""
    run, store = tmp_path / "here", Store(URI)
    before(run)
    mark_newest(run, SHARE, "start")
    send(run, store)
    other = tmp_path / "other"
    fetch(store, other, SHARE)
    sealed(other / "checkpoints" / "update-9", online="9")
    send(other, store)
    sealed(run / "checkpoints" / "best", online="newest")
    fetch(store, run, SHARE, newest_here(run, ["start"]))
    found = content(run)
    assert found["checkpoints/update-9/online"] == b"9" and found["checkpoints/best/online"] == b"newest"


def test_what_can_not_be_fetched_ends_a_start_but_not_one_that_goes_on_here(there, tmp_path, monkeypatch):
    class Away(Store):
        def files(self, below=""):
            raise OSError("no route to it")

    monkeypatch.setattr(sending, "FETCH_S", 0.0)
    monkeypatch.setattr(sending, "Store", Away)
    run = tmp_path / "here"
    with pytest.raises(UserError, match=f"{URI} can't be read: no route to it"):
        fetch_share(run, URI, SHARE, ["start"])
    before(run)
    mark_newest(run, SHARE, "start")
    fetch_share(run, URI, SHARE, ["start"])


def test_a_damaged_file_there_is_found_by_its_checksum(there, tmp_path):
    run, store = tmp_path / "here", Store(URI)
    before(run)
    send(run, store)
    (there / "checkpoints" / "update-2" / "online").write_text("X")
    with pytest.raises(UserError, match="online is not as it was written"):
        brought(store, tmp_path / "found")
    assert hashlib.sha256(b"X").hexdigest() not in (tmp_path / "found/checkpoints/update-2" / MANIFEST).read_text()
