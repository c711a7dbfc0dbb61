"""Registries of schemas: what each can do, and those that are folders."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..errors import PayloadError, RegistryError, SchemaLimitError
from .config import RegistryConfig
from .schema import MAX_BYTES
from .uri import IgluUri, parse_iglu_uri


class Registry(Protocol):
    """Somewhere schemas are."""

    async def fetch(self, uri: IgluUri) -> bytes | None:
        """The text of a schema, or None when it has none. Raises RegistryError, SchemaLimitError."""

    async def list_schemas(self) -> list[IgluUri]:
        """The schemas that it has. Raises RegistryError, as not every registry can tell."""


def registry_of(config: RegistryConfig) -> Registry:
    """The registry that is configured."""
    if config.connection.embedded is not None:
        return FolderRegistry(Path(config.connection.embedded.path))
    if config.connection.http is None:
        raise ValueError(f"no connection: {config.name}")
    from .http_registry import HttpRegistry  # noqa: PLC0415 - aiohttp takes longer to import than all the rest

    return HttpRegistry(config.connection.http)


class FolderRegistry:
    """Schemas in a folder, each at `schemas/vendor/name/format/version`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fetch(self, uri: IgluUri) -> bytes | None:
        """See Registry."""
        return await asyncio.to_thread(read_schema_file, self._folder, uri)

    async def list_schemas(self) -> list[IgluUri]:
        """See Registry."""
        return await asyncio.to_thread(lambda: [uri for _, uri in schema_files(self._folder) if uri is not None])


def read_schema_file(folder: Path, uri: IgluUri) -> bytes | None:
    """The text of a schema in a folder, or None. Raises RegistryError, SchemaLimitError."""
    try:
        with (folder / "schemas" / uri.path).open("rb") as file:
            return bounded(file.read(MAX_BYTES + 1), MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(f"it cannot be read: {error.strerror}") from None


def schema_files(folder: Path) -> Iterator[tuple[Path, IgluUri | None]]:
    """Each file below `schemas/` in a folder, in order, with the schema that its path names, if it does."""
    schemas = folder / "schemas"
    for parent, folders, names in os.walk(schemas):
        folders.sort()
        for name in sorted(names):
            file = Path(parent) / name
            try:
                yield file, parse_iglu_uri(f"iglu:{file.relative_to(schemas).as_posix()}")
            except PayloadError:
                yield file, None


def bounded(text: bytes, limit: int) -> bytes:
    """The text itself. Raises SchemaLimitError when it is longer than so many bytes."""
    if len(text) > limit:
        raise SchemaLimitError(f"it is larger than {limit:,} bytes")
    return text
