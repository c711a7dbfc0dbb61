"""Settings on the command line: flags made from the table in `bus/settings.py`, the environment, snowbus.toml."""

import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings, role_of

TOML_FILE = "snowbus.toml"


class _LoadedSettings(Settings, BaseSettings):
    """Settings from flags (the arguments), then the environment, then the file."""

    model_config = SettingsConfigDict(env_prefix="SNOWBUS_", toml_file=TOML_FILE, enable_decoding=False)

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


def load_settings(flags: dict[str, Any]) -> Settings:
    """Settings from flags over the environment over `snowbus.toml`. Raises ConfigurationError, naming what is wrong."""
    try:
        return _LoadedSettings(**flags)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{Path(TOML_FILE).resolve()}: {error}") from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise ConfigurationError("settings cannot work\n  " + "\n  ".join(problems)) from None


def with_settings(*roles: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the flags of these roles and of the log, and pass it `settings`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = {_parameter(name): name for name in Settings.model_fields if role_of(name) in (None, *roles)}

        @functools.wraps(function)
        def command(**parameters: Any) -> Any:
            flags = {name: parameters.pop(flag) for flag, name in names.items() if flag in parameters}
            given = {name: value for name, value in flags.items() if value not in (None, ())}
            return function(settings=load_settings(given), **parameters)

        wrapped: Callable[..., Any] = command
        for name in reversed(list(names.values())):
            field = Settings.model_fields[name]
            if not _extra(field).get("secret"):  # a process's arguments are for everyone to see
                wrapped = click.option(*_flags(name, roles), _parameter(name), **_option(name, field))(wrapped)
        return wrapped

    return decorate


def environment_name(name: str) -> str:
    """The environment variable of a setting."""
    return f"SNOWBUS_{name.upper()}"


def _parameter(name: str) -> str:
    """The name that click passes a flag by; not the setting's own, which a command may use for an argument."""
    return f"setting_{name}"


def _flags(name: str, roles: tuple[str, ...]) -> list[str]:
    flag = name
    if len(roles) == 1:
        flag = name.removeprefix(f"{roles[0]}_")
    return ["--" + flag.replace("_", "-")]


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    default = field.default
    shown = ", ".join(default) if isinstance(default, tuple) else default
    details = [environment_name(name)]
    if shown not in (None, "", False):
        details.append(f"default {shown}")
    option: dict[str, Any] = {"help": f"{field.description} [{'; '.join(details)}]", "default": None}
    if field.annotation is bool:
        option |= {"is_flag": True}
    elif get_origin(field.annotation) is tuple:
        option |= {"multiple": True, "metavar": _metavar(name)}
    elif get_origin(field.annotation) is Literal:
        option |= {"type": click.Choice(get_args(field.annotation))}
    else:
        option |= {"metavar": _metavar(name)}
    return option


def _metavar(name: str) -> str:
    if name in ("log", "collector"):
        return "URL"
    return "HOST:PORT" if name.endswith("_listen") else "VALUE"


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
