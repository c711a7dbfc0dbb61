"""Opens a log by its URL."""

from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..folders import check_folder
from .interface import Log, LogOptions
from .kafka_url import parse_url, without_password
from .sqlite_url import file_of


async def open_log(url: str, options: LogOptions | None = None, *, create: bool = True) -> Log:
    """Open `kafka://host:9092,host2:9092`, `sqlite:///relative/path` (`sqlite:////absolute/path`), or `memory:`.

    An embedded log that is not there is made, unless `create` is false; its folder is not. `memory:` opens one of one's
    own; `memory:NAME` is the same log for all in this process who have it open.

    Opening does not wait for Kafka to be there: what needs it says LogUnavailableError until it is. Raises
    ConfigurationError for a URL that cannot be understood.
    """
    options = options or LogOptions()
    # The drivers are imported where they are needed, so that one does not cost the other's start-up.
    match _scheme(url):
        case "kafka":
            from .kafka import KafkaLog  # noqa: PLC0415

            return await KafkaLog.open(url, options)
        case "sqlite":
            from .sqlite import SqliteLog  # noqa: PLC0415

            return await SqliteLog.open(url, options, create=create)
        case "memory":
            from .memory import MemoryLog  # noqa: PLC0415

            return await MemoryLog.open(url, options, create=create)
        case scheme:
            raise _unknown(scheme, url)


def check_log_url(url: str, options: LogOptions | None = None) -> None:
    """Raise ConfigurationError for a URL that `open_log` cannot understand, or that names a folder that is not there,
    without opening anything.
    """
    match _scheme(url):
        case "kafka":
            parse_url(url, options or LogOptions())
        case "sqlite":
            check_folder("embedded log", file_of(url))
        case "memory":
            pass
        case scheme:
            raise _unknown(scheme, url)


def _unknown(scheme: str, url: str) -> ConfigurationError:
    shown = without_password(url)
    told = f"there is no scheme {scheme}" if scheme else "it has no scheme"
    return ConfigurationError(f"log {shown!r}: {told}; use kafka://host:9092 or sqlite:///path")


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError as error:
        raise ConfigurationError(f"log {without_password(url)!r}: {error}") from None
