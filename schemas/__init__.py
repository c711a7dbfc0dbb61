"""The schemas that travel with Snowbus: the Avro event, and a static Iglu registry."""

from importlib.resources import files


def read_text(path: str) -> str:
    """The text of a schema file, by its path below this folder, for example `avro/event.avsc`."""
    return files(__name__).joinpath(path).read_text(encoding="utf-8")
