"""The logfile emitter: appends each event to a file, a JSON object of tracker-protocol parameters a line."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from snowbus.bus.errors import ConfigurationError

from .emitter import Emitter, EmitterOptions

if TYPE_CHECKING:  # it needs fcntl, which is not everywhere
    from .to_file import FileDestination, Fsync

_EVENTS_AT_ONCE = 500


class LogfileEmitter(Emitter):
    """Writes events to a file as JSON lines, which `snowbus publish < FILE` puts on the log.

    Several processes may write to one file. It is put aside, under its name with the time behind it, before it would
    have more than `rotate_bytes`, and when `rotate_seconds` begin anew (86400: at midnight, UTC); `keep_files` are kept
    then, 0 keeps all. `fsync`: "never" leaves it to the system when the disk has a line, "interval" sees to it once a
    second, "always" before an event counts as delivered. The other options are those of every emitter.
    Raises ConfigurationError when the file cannot be opened, or an option cannot work.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rotate_bytes: int = 0,
        rotate_seconds: float = 0,
        keep_files: int = 0,
        fsync: "Fsync" = "never",
        **queue: Unpack[EmitterOptions],
    ) -> None:
        if fsync not in ("never", "interval", "always"):
            raise ConfigurationError(f"fsync {fsync!r} is not one of never, interval, always")
        try:
            Path(path).open("ab").close()
        except OSError as error:
            raise ConfigurationError(f"logfile {path}: {error.strerror or error}") from None

        def make() -> "FileDestination":
            from .to_file import FileDestination, Rotation  # noqa: PLC0415 - see above

            return FileDestination(Path(path).absolute(), Rotation(rotate_bytes, rotate_seconds, keep_files), fsync)

        super().__init__(make, name=str(path), at_once=_EVENTS_AT_ONCE, **queue)
