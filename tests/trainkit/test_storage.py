"""URIs, and stores behind them: a real S3 server."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.s3 import BUCKET, BadNetwork, environment, s3_server
from trainkit import storage
from trainkit.errors import UserError
from trainkit.storage import Store, check, join, local_path, split, uri_of, working_folder


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture
def store(s3, monkeypatch, request):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return Store(f"s3://{BUCKET}/{request.node.name}")


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("s3://bucket/runs", "s3://bucket/runs"),
        ("s3://bucket/runs/", "s3://bucket/runs"),
        (Path("s3://bucket/runs"), "s3://bucket/runs"),
        ("S3://bucket/runs/?region=eu-west-1", "s3://bucket/runs?region=eu-west-1"),
        ("gs://bucket", "gs://bucket"),
        ("hdfs:///runs", "hdfs:///runs"),
        ("runs", None),
        ("/runs", None),
        ("", None),
        ("file:///runs", None),
        ("odd:/runs", None),
    ],
)
def test_what_is_a_uri(given, uri):
    assert uri_of(given) == uri


def test_mistakes_in_uris():
    with pytest.raises(UserError, match=r"'s4://bucket/runs': unknown scheme 's4'; expected one of s3, .*mean 's3'\?"):
        uri_of("s4://bucket/runs")
    with pytest.raises(UserError, match=r"'gs://' names no folder; expected gs://BUCKET/FOLDER"):
        uri_of("gs://")
    with pytest.raises(UserError, match=r"'s3://b/r\?regoin=x' can't be used: unknown option .*Did you mean 'region'"):
        Store("s3://b/r?regoin=x")


def test_paths_and_names_of_uris(monkeypatch, tmp_path):
    assert local_path("file:///a%20b") == Path("/a b") and local_path("runs") == Path("runs")
    assert join("s3://b/runs?region=x", "pong") == "s3://b/runs/pong?region=x"
    assert split("s3://b/runs/pong?region=x") == ("s3://b/runs?region=x", "pong")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pong, other = working_folder("s3://b/runs/pong"), working_folder("s3://b/runs/other")
    assert pong.name == "pong" and pong.parent == other.parent and tmp_path in pong.parents
    assert working_folder("s3://b/more/pong").parent != pong.parent


def test_files_of_a_store(store, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(os.urandom(12_000_000))  # in several pieces
    store.put(big, "a/big")
    store.write("a/b/small", b"small")
    store.write("top", b"")
    assert store.files() == {"a/big": 12_000_000, "a/b/small": 5, "top": 0}
    assert store.files("a/b") == {"a/b/small": 5} and store.files("none") == {}
    assert store.folders() == ["a"]
    store.copy("a/b/small", "a/copied")
    store.delete("a/b/small")
    assert store.read("a/copied") == b"small"
    for missing in (lambda: store.read("a/b/small"), lambda: store.get("a/b/small", tmp_path / "x")):
        with pytest.raises(FileNotFoundError):
            missing()
    store.get("a/big", tmp_path / "again" / "big")
    assert (tmp_path / "again" / "big").read_bytes() == big.read_bytes()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["big", "big"], "nothing half-fetched stays"
    store.delete_folder("a")
    store.delete("a/big")
    assert list(store.files()) == ["top"]


def test_a_store_that_can_not_be_written_is_told_of_in_one_line(s3, monkeypatch):
    def told(uri, env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError) as caught:
            check(uri, "runs_dir")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    there = s3.environment
    assert told("s3://nowhere/runs", there).startswith(
        "runs_dir = 's3://nowhere/runs' can't be written: The specified bucket does not exist (NO_SUCH_BUCKET); "
    )
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "Could not connect to server" in told("s3://bucket/runs", environment(closed.getsockname()[1]))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "Timeout was reached" in told("s3://bucket/runs", environment(silent.getsockname()[1]))
        monkeypatch.setattr(storage, "ANSWER_S", 0.2)
        assert "no answer within 0.2 s" in told("s3://bucket/runs", {})
    with s3_server(asks_for_credentials=True) as strict:
        for key in ("unknown", ""):
            message = told("s3://bucket/runs", environment(strict.port, key))
            assert "AWS_ACCESS_KEY_ID" in message and "can't be written: " in message, message


def test_a_store_that_can_be_written_is_left_as_it_was(store):
    check(store.uri, "runs_dir")
    assert store.files() == {}


def test_what_does_not_get_there_is_an_error(s3, store, tmp_path, monkeypatch):
    """Of every way to write; and what half of the requests come through of is there whole."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(100_000))
    store.put(file, "there")
    with BadNetwork(s3, failing=1.0) as network:
        monkeypatch.setenv("AWS_ENDPOINT_URL", network.environment["AWS_ENDPOINT_URL"])
        bad, network.faults = Store(store.uri), ("request",)
        for write in (
            lambda: bad.put(file, "x"),
            lambda: bad.write("x", b""),
            lambda: bad.copy("there", "x"),
            lambda: bad.delete("there"),
            lambda: bad.get("there", tmp_path / "got"),
            lambda: bad.files(),
        ):
            with pytest.raises(OSError):
                write()
        network.failing, network.faults, sent = 0.5, ("request", "answer", "half"), []
        while len(sent) < 5:
            with suppress(OSError):
                bad.put(file, f"sent-{len(sent)}")
                sent.append(f"sent-{len(sent)}")
    assert store.files() == dict.fromkeys([*sent, "there"], 100_000)
    assert all(store.read(name) == file.read_bytes() for name in sent) and not (tmp_path / "got").exists()
