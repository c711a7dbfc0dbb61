"""Settings from flags, the environment and snowbus.toml; what cannot work is told with where it came from."""

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from snowbus.bus.errors import ConfigurationError, ListenError
from snowbus.bus.log.kafka_url import without_password
from snowbus.bus.settings import Settings, is_secret

TOML_FILE = "snowbus.toml"
_PREFIX = "SNOWBUS_"
_NEAR = 0.8
_GUARDS = ("gateway_jwt", "gateway_mask", "gateway_tokens", "ingest_api_keys")
"""What settings begin with without which a role lets everyone in."""


class _LoadedSettings(Settings, BaseSettings):
    """Settings from flags (the arguments), then the environment, then the file."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, toml_file=TOML_FILE, enable_decoding=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def environment_name(name: str) -> str:
    """The environment variable of a setting."""
    return _PREFIX + name.upper()


def load_settings(flags: Mapping[str, Any], *, spelt: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags over the environment over `snowbus.toml`; `spelt` tells how the command spells its flags.

    A variable SNOWBUS_… that is no setting, and looks like one, is warned of on stderr; any other is somebody else's.
    Raises ConfigurationError, which names what is wrong and where it was given; also for a variable that looks like one
    without which everyone is let in.
    """
    for variable, near in misspelt(os.environ).items():
        meant = " or ".join(map(environment_name, near))
        warning = f"the environment's {variable} is no setting, and is not read; did you mean {meant}?"
        if any(name.startswith(_GUARDS) for name in near):
            raise ConfigurationError(f"{warning} Without that, everyone is let in")
        click.echo(f"snowbus: {warning}", err=True)
    spelt = spelt or {}
    try:
        settings = _LoadedSettings(**flags)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{_file()}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_file()} cannot be read: {error}") from None
    except ValidationError as error:
        problems = [
            _problem(str(each["loc"][0]), each["msg"], each["input"], unknown=each["type"] == "extra_forbidden")
            for each in error.errors()
        ]
        told = [f"{where(name, flags, spelt)}: {problem}" for name, problem in problems]
        raise ConfigurationError("settings cannot work\n  " + "\n  ".join(told)) from None
    _check(settings, flags, spelt)
    return settings


def misspelt(environment: Iterable[str]) -> dict[str, list[str]]:
    """The variables of the environment that look like settings of ours and are none, with those that they look like."""
    found = {}
    for variable in sorted(environment):
        name = variable.upper().removeprefix(_PREFIX).lower()
        if variable.upper().startswith(_PREFIX) and name not in Settings.model_fields and (near := _near(name)):
            found[variable] = near
    return found


def where(name: str, flags: Collection[str], spelt: Mapping[str, str]) -> str:
    """Where the value of a setting was given that counts."""
    if name in flags:
        return spelt.get(name, name)
    if environment_name(name) in map(str.upper, os.environ):
        return environment_name(name)
    return f"{_file()}, {name}"


def with_where(
    error: ConfigurationError, settings: Settings, flags: Collection[str], spelt: Mapping[str, str]
) -> ConfigurationError:
    """An error of the command itself, with where the setting was given that its text begins with, if it does; or with
    the flag for another address.
    """
    if isinstance(error, ListenError):
        named = [spelt[name] for name in _listens(spelt) if getattr(settings, name) == error.listen]
        return ConfigurationError(f"{error}; choose another address with {' or '.join(named)}") if named else error
    name = re.match(r"\w*", str(error))
    if name is None or name[0] not in settings.model_fields_set:
        return error
    return ConfigurationError(f"{where(name[0], flags, spelt)}: {str(error).removeprefix(f'{name[0]}: ')}")


def _problem(name: str, message: str, value: Any, *, unknown: bool) -> tuple[str, str]:
    """The name of a setting, and what is wrong with the value that it was given."""
    if not unknown:
        said = message.removeprefix("Input ").removeprefix("Value error, ")
        return name, said if is_secret(name) else f"{said}, not {_shown(name, value)}"
    if isinstance(value, dict):
        return name, f"tables are not read; write {name}_… = … at the top of the file"
    near = _near(name)
    return name, "there is no such setting" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _near(name: str) -> list[str]:
    """The settings that a name may have been meant for: close ones, else those that it is the end of."""
    names = list(Settings.model_fields)
    return difflib.get_close_matches(name, names, n=1, cutoff=_NEAR) or [
        each for each in names if each.endswith(f"_{name}")
    ]


def _shown(name: str, value: Any) -> str:
    return repr(without_password(value) if name == "log" and isinstance(value, str) else value)


def _check(settings: Settings, flags: Collection[str], spelt: Mapping[str, str]) -> None:
    """Raise ConfigurationError for an address that was given, which the command has a flag for, and that is none."""
    for name in _listens(settings.model_fields_set & spelt.keys()):
        from snowbus.bus.http_server import split_listen  # noqa: PLC0415 - its server is slow to import

        try:
            split_listen(getattr(settings, name))
        except ConfigurationError as error:
            raise ConfigurationError(f"{where(name, flags, spelt)}: {error}") from None


def _listens(names: Iterable[str]) -> list[str]:
    """Those of settings that are an address of a role."""
    return sorted(name for name in names if name.endswith("_listen"))


def _file() -> Path:
    return Path(TOML_FILE).resolve()
