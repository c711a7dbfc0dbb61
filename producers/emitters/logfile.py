"""The logfile emitter: appends each event to a file, a JSON object of tracker-protocol parameters a line."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from snowbus.bus.errors import ConfigurationError

from .emitter import Emitter, EmitterOptions
from .options import check_choice, check_seconds, check_text, check_whole

if TYPE_CHECKING:  # it needs fcntl, which is not everywhere
    from .to_file import FileDestination, Fsync

_EVENTS_AT_ONCE = 500


class LogfileEmitter(Emitter):
    """Writes events to a file as JSON lines, which `snowbus publish < FILE` puts on the log.

    Several processes may write to one file. It is put aside, under its name with the time behind it, before it would
    have more than `rotate_bytes`, and when `rotate_seconds` begin anew (86400: at midnight, UTC); `keep_files` are kept
    then, or all. `fsync`: "never" leaves it to the system when the disk has a line, "interval" sees to it once a
    second, "always" before an event counts as delivered. The other options are those of every emitter.
    Raises ConfigurationError when the file cannot be opened, or an option cannot work.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rotate_bytes: int | None = None,
        rotate_seconds: float | None = None,
        keep_files: int | None = None,
        fsync: "Fsync" = "never",
        **queue: Unpack[EmitterOptions],
    ) -> None:
        if not isinstance(path, Path):
            check_text("path", path)
        check_choice("fsync", fsync, ("never", "interval", "always"))
        for option, count in (("rotate_bytes", rotate_bytes), ("keep_files", keep_files)):
            if count is not None:
                check_whole(option, count, least=1)
        if rotate_seconds is not None:
            check_seconds("rotate_seconds", rotate_seconds)
        try:
            Path(path).open("ab").close()
        except OSError as error:
            raise ConfigurationError(f"logfile {path}: {error.strerror or error}") from None

        def make() -> "FileDestination":
            from .to_file import FileDestination, Rotation  # noqa: PLC0415 - see above

            rotation = Rotation(rotate_bytes or 0, rotate_seconds or 0, keep_files or 0)
            return FileDestination(Path(path).absolute(), rotation, fsync)

        super().__init__(make, name=str(path), at_once=_EVENTS_AT_ONCE, **queue)
