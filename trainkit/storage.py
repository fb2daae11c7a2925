"""Run folders by URI: an object store, or any other filesystem that pyarrow.fs reaches.

Programs go on writing and reading local files: each machine has a working folder for such a run. What is complete there
is copied to the URI (sending.py), and what is there is fetched (fetching.py).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from trainkit.errors import UserError, did_you_mean, first_line, optional
from trainkit.own_folders import can_write, own_temporary_folder

T = TypeVar("T")

URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)", re.DOTALL)
LOCAL = "file"
# Those of pyarrow.fs; what is written to a key of an object store appears whole.
OBJECT_STORES = ("s3", "gs", "gcs", "abfs", "abfss")
SCHEMES = (*OBJECT_STORES, "hdfs", "viewfs", LOCAL)
S3_OPTIONS = ("region", "scheme", "endpoint_override")  # that may stand behind a '?' of an s3:// URI
URI_FILE = ".uri"  # in a working folder: whose it is
CONNECT_S, ATTEMPTS = 5.0, 3  # of one request
ANSWER_S = 20.0  # until a store that does not answer is given up before a run starts
BLOCK_BYTES = 4 * 2**20  # read and written at once
CHECK_FILE = ".apex-ray-write-test"


def uri_of(path: str | Path) -> str | None:
    """`path` as the URI of a store, without a '/' at its end; None where it is a path of this machine.

    That is also what file:// URIs name (`local_path`). UserError for a scheme that is not known, or nothing behind it.
    """
    found = URI.fullmatch(str(path))
    if found is None or (scheme := found[1].lower()) == LOCAL:
        return None
    if scheme not in SCHEMES:
        if len(found[2]) == 1:
            return None  # a folder of this machine whose name ends so
        raise UserError(
            f"{str(path)!r}: unknown scheme {found[1]!r}; expected one of {', '.join(SCHEMES)}, or a path."
            f"{did_you_mean(scheme, SCHEMES)}"
        )
    slashes = "//" if len(found[2]) == 1 else found[2]  # a pathlib.Path keeps one of two
    below, mark, options = found[3].partition("?")
    if not below.strip("/"):
        raise UserError(f"{str(path)!r} names no folder; expected {scheme}://BUCKET/FOLDER")
    return f"{scheme}:{slashes}{below.rstrip('/')}{mark}{options}"


def local_path(path: str | Path) -> Path:
    """The path of this machine that `path`, maybe a file:// URI, means."""
    found = URI.fullmatch(str(path))
    is_uri = found is not None and found[1].lower() == LOCAL
    return Path(unquote(urlsplit(str(path)).path)) if is_uri else Path(path).expanduser()


def join(uri: str, *names: str) -> str:
    """The URI of what lies below."""
    below, mark, options = uri.partition("?")
    return "/".join([below, *names]) + mark + options


def split(uri: str) -> tuple[str, str]:
    """(the URI of the folder that it lies in, its name there)."""
    below, mark, options = uri.partition("?")
    folder, _, name = below.rpartition("/")
    return folder + mark + options, name


def working_folder(uri: str) -> Path:
    """Where this machine has the run of that URI; its folder's name is the run's, those beside it lie beside it."""
    folder, name = split(uri)
    return _cache() / "runs" / hashlib.sha256(folder.encode()).hexdigest()[:12] / name


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "apex-ray" if can_write(base) else own_temporary_folder()


def make_working_folder(uri: str, run: Path | None = None) -> Path:
    """`working_folder`, or `run`, made and marked as that of `uri`."""
    run = run or working_folder(uri)
    run.mkdir(parents=True, exist_ok=True)
    (run / URI_FILE).write_text(uri)
    return run


def kept_at(run: Path) -> str | None:
    """The URI whose working folder `run` is; None for a folder that is the run's own."""
    with suppress(OSError):
        return (run / URI_FILE).read_text()
    return None


def shown(run: Path) -> str:
    """A run folder as its user calls it: its URI where it has one."""
    return kept_at(run) or str(run)


class Store:
    """The folder of a URI. Files are named by their path below it, with '/'. OSError for all that fails."""

    def __init__(self, uri: str, on: Any = None) -> None:
        """UserError for a URI that is not well formed; nothing is asked of the store yet.

        `on`: a filesystem of pyarrow's, on which `uri` is a path; None: that of the URI.
        """
        self.uri = uri
        if on is None:
            optional("pyarrow")
        try:
            self._fs, root = (on, uri) if on is not None else filesystem(uri)
        except Exception as error:  # ValueError, TypeError, pyarrow's own
            raise UserError(f"{uri!r} can't be used: {reason(error)}") from None
        self._root = root.rstrip("/")
        self._replaces = uri.startswith(tuple(f"{scheme}://" for scheme in OBJECT_STORES))

    def files(self, below: str = "") -> dict[str, int]:
        """The size in bytes of each file in the folder `below` and all folders in it; none where it is not there."""
        return {name: size for name, size in self._listed(below, recursive=True) if size is not None}

    def folders(self) -> list[str]:
        """The names of those directly inside, sorted."""
        return sorted(name for name, size in self._listed("", recursive=False) if size is None)

    def _listed(self, below: str, recursive: bool) -> Iterator[tuple[str, int | None]]:
        from pyarrow.fs import FileSelector, FileType

        with _os_errors():
            found = self._fs.get_file_info(FileSelector(self._path(below), allow_not_found=True, recursive=recursive))
        for info in found:
            name = info.path.removeprefix(self._root).lstrip("/")
            yield name, info.size if info.type == FileType.File else None

    def read(self, name: str) -> bytes:
        """The content of a small file. FileNotFoundError where there is none."""
        with _os_errors(), self._fs.open_input_stream(self._path(name)) as file:
            return bytes(file.read())

    def write(self, name: str, content: bytes) -> None:
        """A small file that appears whole."""

        def write(path: str) -> None:
            with self._fs.open_output_stream(path) as file:
                file.write(content)

        self._whole(name, write)

    def put(self, file: Path, name: str) -> None:
        """Copy a file of this machine; it appears whole."""

        def copy(path: str) -> None:
            # Not by pyarrow.fs.copy_files, which does not tell of an S3 upload that fails.
            with file.open("rb") as source, self._fs.open_output_stream(path) as target:
                shutil.copyfileobj(source, target, BLOCK_BYTES)

        self._whole(name, copy)

    def _whole(self, name: str, write: Callable[[str], None]) -> None:
        path = self._path(name)
        with _os_errors():
            if self._replaces:
                write(path)
                return
            folder, _, last = path.rpartition("/")
            self._fs.create_dir(folder)
            write(f"{folder}/.{last}.partial")
            self._fs.move(f"{folder}/.{last}.partial", path)

    def get(self, name: str, file: Path) -> None:
        """Copy a file to this machine, where it appears whole."""
        partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.partial")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _os_errors(), self._fs.open_input_stream(self._path(name)) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target, BLOCK_BYTES)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

    def copy(self, name: str, to: str) -> None:
        """Within the store."""
        self._whole(to, lambda path: self._fs.copy_file(self._path(name), path))

    def delete(self, name: str) -> None:
        """A file; one that is not there is gone already."""
        with suppress(FileNotFoundError), _os_errors():
            self._fs.delete_file(self._path(name))

    def delete_folder(self, name: str) -> None:
        with suppress(FileNotFoundError), _os_errors():
            self._fs.delete_dir(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def filesystem(uri: str) -> tuple[Any, str]:
    """The filesystem of a URI, one that gives up within seconds, and the path in it."""
    from pyarrow.fs import FileSystem

    if uri.startswith("s3://"):
        return _s3(uri)
    if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in uri:
        uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={ANSWER_S:g}"
    made: tuple[Any, str] = FileSystem.from_uri(uri)
    return made


def _s3(uri: str) -> tuple[Any, str]:
    """As FileSystem.from_uri, which leaves out the limits, and asks AWS for a region before it looks at anything."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    for name in options:
        if name not in S3_OPTIONS:
            known = ", ".join(S3_OPTIONS)
            raise ValueError(f"unknown option {name!r}; expected one of {known}.{did_you_mean(name, S3_OPTIONS)}")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/")} | ({"scheme": scheme} if scheme else {})
    bucket = parts.netloc.rpartition("@")[2]
    known_region = "region" in options or any(os.environ.get(f"AWS_{name}REGION") for name in ("", "DEFAULT_"))
    if not known_region and "endpoint_override" not in options:
        with suppress(OSError):  # of a bucket that is not there, which the first request tells of
            options["region"] = resolve_s3_region(bucket)
    keys = {"access_key": parts.username, "secret_key": parts.password} if parts.username else {}
    return (
        S3FileSystem(
            connect_timeout=CONNECT_S,
            background_writes=False,  # an error comes from the call that made it
            allow_delayed_open=True,  # one request for a small file, not three
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            **keys,
            **options,
        ),
        f"{bucket}{parts.path}",
    )


def check(uri: str, what: str) -> None:
    """UserError, within seconds and with `what` in front, unless files can be written at the URI and deleted again."""

    def try_it() -> None:
        store = Store(uri)
        store.write(CHECK_FILE, b"")
        store.delete(CHECK_FILE)

    try:
        within(ANSWER_S, try_it)
    except OSError as error:
        raise UserError(
            f"{what} = {uri!r} can't be written: {reason(error)}; expected a bucket or folder that is there, and "
            "credentials for it as its own tools find them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None


def within(limit_s: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; TimeoutError when that takes longer: the call is left to itself then."""
    done, came = threading.Event(), list[Any]()

    def run() -> None:
        try:
            came.extend((call(), None))
        except BaseException as error:
            came.extend((None, error))
        done.set()

    threading.Thread(target=run, daemon=True).start()
    if not done.wait(limit_s):
        raise TimeoutError(f"no answer within {limit_s:g} s")
    value, error = came
    if error is not None:
        raise error
    result: T = value
    return result


def reason(error: BaseException) -> str:
    """What an error of pyarrow comes to, in a few words: without keys, buckets and requests."""
    text = (error.strerror if isinstance(error, OSError) else None) or first_line(error)
    if found := re.search(r"AWS Error (\w+)[^:]* operation: ?(.*?)(?: ?\(Request ID.*)?$", text):
        words = re.sub(r"^curlCode: \d+, |; Details: .*", "", found[2]).strip().rstrip(".")
        return f"{words} ({found[1]})" if words and words != "No response body" else found[1]
    return text


@contextmanager
def _os_errors() -> Iterator[None]:
    """Errors of pyarrow, which are of many kinds, as OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(first_line(error)) from error
