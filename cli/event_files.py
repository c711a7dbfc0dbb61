"""Files of events for `snowbus publish --file`: a line each, or one JSON document (HAR, an array), perhaps packed.

A file is read in batches, each with a mark of how far that is: a digest of everything before, so that a file is known
again under whatever name, and once it has grown; and so that an event without an id gets the same one whenever the file
is read.
"""

import gzip
import hashlib
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, cast

from snowbus.bus.acceptance import draft
from snowbus.bus.errors import JsonError, PayloadError, SnowbusError
from snowbus.bus.json_text import loads

from .events_in import Read, events_in
from .har import HarError, har_requests, is_har

_GZIP = b"\x1f\x8b"
_BLANK = b"\xef\xbb\xbf \t\r\n"
_BATCH_ITEMS = 500
_BATCH_BYTES = 1_000_000
_BLOCK_BYTES = 1_048_576


class FileError(SnowbusError):
    """A file of events that cannot be read; says which and why."""


class Mark(NamedTuple):
    """How far a file is done: `items` of the first `size` bytes, which have this digest."""

    digest: str
    size: int
    items: int


class Item(NamedTuple):
    """What stands in one place of a file: events, with an error in the place of each that is none."""

    place: str
    events: list[Read]


class Batch(NamedTuple):
    """What comes next in a file, and how far that is."""

    items: list[Item]
    mark: Mark


class EventFile:
    """A file, open until its block ends; it begins after the furthest of the marks that it has. Raises FileError."""

    def __init__(self, path: Path, marks: Collection[Mark] = ()) -> None:
        self.path = path
        self._marks = sorted(marks, key=lambda mark: (mark.size, mark.items))
        try:
            self._raw: BinaryIO = path.open("rb")
        except OSError as error:
            raise FileError(f"{path}: {error.strerror or error}") from None
        if not self._raw.seekable():
            self._raw.close()
            raise FileError(f"{path} is no file but a pipe; leave out --file, and give its lines to stdin")
        packed = self._raw.peek(2)[:2] == _GZIP
        self._file = cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if packed else self._raw
        self.size = path.stat().st_size
        self.begun_at: Mark | None = None
        """The mark after which it began, once it has."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._raw.close()

    @property
    def position(self) -> int:
        """How many of the file's bytes have been read, of its `size`."""
        return self._raw.tell()

    def batches(self) -> Iterator[Batch]:
        """Everything from there to the end, in its order."""
        try:
            document = self._document()
            yield from self._lines() if document is None else self._items(*document)
        except (OSError, EOFError, zlib.error) as error:
            raise FileError(f"{self.path}: {getattr(error, 'strerror', None) or error}") from None
        except HarError as error:
            raise FileError(f"{self.path}: {error}") from None

    def _document(self) -> tuple[Any, bytes] | None:
        """The file as one JSON document that is more than an event, and its bytes; None when it is lines."""
        lines = (line for line in self._file if line.strip(_BLANK))
        first, second = next(lines, b""), next(lines, b"")
        self._file.seek(0)
        if not _begins_document(first, second):
            return None
        whole = self._file.read()
        self._file.seek(0)
        try:
            return loads(_text(whole)), whole
        except JsonError:
            return None

    def _items(self, value: Any, whole: bytes) -> Iterator[Batch]:
        """The requests of a HAR file, or the events of an array; the file counts as one that does not grow."""
        digest = hashlib.sha256(whole).hexdigest()
        done = max((mark for mark in self._marks if mark.digest == digest), default=None)
        self.begun_at = done
        items = list(_items_of(value, digest))
        for start in range(done.items if done else 0, len(items), _BATCH_ITEMS):
            some = items[start : start + _BATCH_ITEMS]
            yield Batch(some, Mark(digest, len(whole), start + len(some)))

    def _lines(self) -> Iterator[Batch]:
        digest = hashlib.sha256()
        mark = self.begun_at = self._furthest()
        number, size = (mark.items, mark.size) if mark else (0, 0)
        self._file.seek(0)
        for block in _blocks(self._file, size):
            digest.update(block)
        items: list[Item] = []
        began_at = size
        for line in self._file:
            number += 1
            upto = digest.copy()
            upto.update(line)
            item = Item(f"line {number:,}", list(events_in(line, seed=upto.hexdigest())) if line.strip() else [])
            if line.endswith(b"\n") or not any(isinstance(read.event, SnowbusError) for read in item.events):
                digest = upto
                size += len(line)
                mark = Mark(digest.hexdigest(), size, number)
            if item.events:
                items.append(item)
            if mark and (len(items) >= _BATCH_ITEMS or size - began_at >= _BATCH_BYTES):
                yield Batch(items, mark)
                items, began_at = [], size
        if items:
            yield Batch(items, mark or Mark(digest.hexdigest(), 0, 0))

    def _furthest(self) -> Mark | None:
        """The furthest of the marks that this file has."""
        digest = hashlib.sha256()
        read = 0
        found = None
        for mark in self._marks:
            for block in _blocks(self._file, mark.size - read):
                digest.update(block)
                read += len(block)
            if read == mark.size and digest.hexdigest() == mark.digest:
                found = mark
        return found


def _begins_document(first: bytes, second: bytes) -> bool:
    """Whether a file may be one document, rather than a line for each event, by its first lines that are not blank."""
    begun = first.strip(_BLANK)
    if begun[:1] not in (b"{", b"["):
        return False
    try:
        value = loads(_text(first))
    except JsonError:
        return begun in (b"{", b"[") or not _is_json(second)
    return is_har(value) or isinstance(value, list)


def _is_json(line: bytes) -> bool:
    try:
        loads(_text(line))
    except JsonError:
        return False
    return True


def _items_of(value: Any, digest: str) -> Iterator[Item]:
    """What stands in a document with this digest."""
    if is_har(value):
        for number, understood in har_requests(value):
            drafts = [Read("", draft(payload)) for payload in understood.payloads]
            refused = [Read("", PayloadError(each.sentence)) for each in understood.refused]
            yield Item(f"request {number:,}", [*drafts, *refused])
        return
    for number, event in enumerate(value if isinstance(value, list) else [value]):
        yield Item(f"[{number}]", list(events_in(event, seed=f"{digest} {number}")))


def _text(data: bytes) -> str:
    """The text; what is not UTF-8 in it is no JSON either."""
    return data.decode("utf-8-sig", "replace")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The next bytes of a file, or as many as there are."""
    while size > 0 and (block := file.read(min(size, _BLOCK_BYTES))):
        yield block
        size -= len(block)
