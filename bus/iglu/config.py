"""Which registries schemas are looked up in: a resolver's configuration, in Snowplow's own form.

Source: iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3, as Snowplow Enrich reads it.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .. import json_text
from ..errors import ConfigurationError, JsonError
from ..watched_file import WatchedFile

_SCHEMA = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-"
_IN_SNOWPLOWS_JAR = "/iglu-client-embedded"
"""The path of schemas that come with Snowplow's own client, and describe nothing that is in events."""
_OWN_CACHE_SIZE = 500


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Embedded(_Part):
    """A folder of schemas, in the layout of a static registry: `schemas/vendor/name/format/version` below it."""

    path: str = Field(min_length=1)


class Http(_Part):
    """A registry on the web: its schemas are at `{uri}/schemas/vendor/name/format/version`."""

    uri: str
    apikey: str | None = Field(None, repr=False)

    @model_validator(mode="after")
    def _check(self) -> "Http":
        parts = urlsplit(self.uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"uri: {self.uri!r} is no http(s) URL")
        return self


class Connection(_Part):
    """How to reach a registry: it is one of the two."""

    embedded: Embedded | None = None
    http: Http | None = None

    @model_validator(mode="after")
    def _check(self) -> "Connection":
        if (self.embedded is None) == (self.http is None):
            raise ValueError("it is either embedded or http")
        return self


class RegistryConfig(_Part):
    """One registry. Lower priorities are asked first."""

    name: str
    priority: int
    vendor_prefixes: tuple[str, ...] = Field((), alias="vendorPrefixes")
    connection: Connection

    def rank(self, vendor: str) -> tuple[bool, bool, int]:
        """What registries are sorted by before they are asked for a schema of this vendor.

        Those that are for it come before the others, embedded ones before those on the web, then the lower priority.
        """
        is_for_it = any(vendor.startswith(prefix) for prefix in self.vendor_prefixes)
        return not is_for_it, self.connection.embedded is None, self.priority


class ResolverConfig(BaseModel):
    """Registries, and how much is remembered of them: so many schemas, for so many seconds (None: for good)."""

    model_config = ConfigDict(frozen=True)

    cache_size: int = Field(ge=0, alias="cacheSize")
    cache_ttl: int | None = Field(None, ge=0, alias="cacheTtl")
    repositories: tuple[RegistryConfig, ...]

    @property
    def folders(self) -> list[Path]:
        """The folders of the embedded registries, the first to be asked first."""
        in_order = sorted(self.repositories, key=lambda each: each.priority)
        return [Path(each.connection.embedded.path) for each in in_order if each.connection.embedded]


def own_config() -> ResolverConfig:
    """The schemas that come with Snowbus."""
    return load_resolver_config(own_config_file())


def own_config_file() -> Path:
    """The file that names the schemas that come with Snowbus, those of the demo's shop."""
    return Path(str(files("snowbus.schemas").joinpath("iglu/resolver.json")))


def folder_config(folder: Path) -> ResolverConfig:
    """The schemas in a folder alone."""
    registry = RegistryConfig(name=str(folder), priority=0, connection=Connection(embedded=Embedded(path=str(folder))))
    return ResolverConfig(cacheSize=_OWN_CACHE_SIZE, cacheTtl=None, repositories=(registry,))


def load_resolver_config(file: Path) -> ResolverConfig:
    """Read a resolver's configuration; paths in it are below the file's folder. Raises ConfigurationError."""
    try:
        return parse_resolver_config(file.read_text(encoding="utf-8"), folder=file.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"iglu_resolver: {file} cannot be read: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"iglu_resolver: {file}: {error}") from None


def watched_config(file: str) -> WatchedFile[ResolverConfig]:
    """The configuration in a file that may change. Raises ConfigurationError."""

    def parse(text: str) -> ResolverConfig:
        try:
            return parse_resolver_config(text, folder=Path(file).parent)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None

    return WatchedFile("iglu_resolver", file, parse)


def parse_resolver_config(text: str, *, folder: Path) -> ResolverConfig:
    """The configuration in a JSON text, with paths below a folder. Raises ConfigurationError, which says what is wrong
    and where.
    """
    try:
        document: Any = json_text.loads(text)
    except JsonError as error:
        raise ConfigurationError(str(error)) from None
    if not isinstance(document, dict) or not str(document.get("schema", "")).startswith(_SCHEMA):
        raise ConfigurationError(f"it is no resolver's configuration, {{schema: {_SCHEMA}*, data: …}}")
    try:
        config = ResolverConfig.model_validate_json(json_text.dump_bytes(document.get("data")), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("data", *first["loc"]))
        raise ConfigurationError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    return config.model_copy(update={"repositories": tuple(_placed(each, folder) for each in config.repositories)})


def _placed(registry: RegistryConfig, folder: Path) -> RegistryConfig:
    """A registry whose path, if it has one, is below a folder. Raises ConfigurationError when nothing is there."""
    embedded = registry.connection.embedded
    if embedded is None:
        return registry
    path = folder / embedded.path
    if not path.is_dir() and embedded.path.rstrip("/") != _IN_SNOWPLOWS_JAR:
        raise ConfigurationError(f"registry {registry.name!r}: there is no folder {path}")
    return registry.model_copy(update={"connection": Connection(embedded=Embedded(path=str(path)))})


def settings_config(file: str) -> ResolverConfig:
    """The configuration in a file, or without one our own. Raises ConfigurationError."""
    return load_resolver_config(Path(file)) if file else own_config()
