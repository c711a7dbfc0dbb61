"""What `snowbus publish --resume` remembers: how far each file has been published."""

import json
import os
from pathlib import Path

from .event_files import FileError, Mark


class Published:
    """The marks in a file, written anew after each batch. Raises FileError when it holds anything else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            known = json.loads(path.read_text("utf-8")) if path.exists() else {"published": []}
            self._marks = [
                Mark(str(each["digest"]), int(each["bytes"]), int(each["items"])) for each in known["published"]
            ]
        except OSError as error:
            raise FileError(f"{path}: {error.strerror or error}") from None
        except (ValueError, KeyError, TypeError):
            raise FileError(f"{path} is not what --resume has written; name another file, or delete it") from None

    @property
    def marks(self) -> list[Mark]:
        """How far each file has been published."""
        return list(self._marks)

    def move(self, before: Mark | None, now: Mark) -> None:
        """Replace a mark by one that is further on in the same file. Raises FileError."""
        self._marks = [mark for mark in self._marks if mark != before] + [now]
        known = [{"digest": mark.digest, "bytes": mark.size, "items": mark.items} for mark in self._marks]
        written = self._path.with_name(f".{self._path.name}.new")
        try:
            written.write_text(json.dumps({"published": known}, indent=1) + "\n", "utf-8")
            os.replace(written, self._path)  # noqa: PTH105 - what it is called
        except OSError as error:
            raise FileError(f"{self._path}: {error.strerror or error}") from None
