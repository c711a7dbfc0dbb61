"""Flags made from the table in `bus/settings.py`, and a `--help` that lists them by what they are about."""

import functools
from collections.abc import Callable, Collection
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import NEW_TOPICS, WORKER, Settings, is_secret, role_of, section_of

from .argument_secrets import refuse_secrets
from .load_settings import environment_name, load_settings, with_where

_OWN = "Options"
_ADDRESSES = ("--address", "--bind", "--host", "--port")  # as other servers call it

RESOLVER = ("iglu_resolver",)
"""The settings of whoever has to do with schemas."""
VALIDATION = (*RESOLVER, "iglu_wait", "on_invalid")
"""The settings of whoever checks events and puts them on the log."""


class SettingsCommand(click.Command):
    """A command whose `--help` tells first its own options, then its settings, section by section."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command.parse_args; of hidden options, no error speaks."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hidden = {name for each in self.params if getattr(each, "hidden", False) for name in each.opts}
            if error.possibilities:
                error.possibilities[:] = [name for name in error.possibilities if name not in hidden]
            listens = [name for each in self.params for name in each.opts if name.endswith("listen")]
            if error.option_name in _ADDRESSES and (meant := [name for name in listens if name not in hidden]):
                told = f"{error.message} Addresses are written {', '.join(f'{name} HOST:PORT' for name in meant)}."
                raise click.UsageError(told, ctx) from None
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Command.format_options."""
        sections: dict[str, list[tuple[str, str]]] = {_OWN: []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(parameter, "section", _OWN), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class _SettingOption(click.Option):
    """A flag for a setting, and the section of `--help` that it stands in."""

    def __init__(self, *names: Any, section: str, **options: Any) -> None:
        super().__init__(*names, **options)
        self.section = section


def with_settings(
    *roles: str,
    creates_topics: bool = True,
    workers: bool = False,
    also: Collection[str] = (),
    only: Collection[str] = tuple(Settings.model_fields),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the flags of these roles, of the log and perhaps of workers, and pass it `settings`.

    It gets `also` those of settings that these names stand for, and of all of them `only` those of some.
    """
    wanted = (None, *roles, *([WORKER] if workers else ()))

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = [
            name
            for name in Settings.model_fields
            if name in only
            and (role_of(name) in wanted or name in also)
            and (creates_topics or section_of(name) != NEW_TOPICS)
            and not is_secret(name)  # a process's arguments are for everyone to see
        ]
        names.sort(key=lambda name: role_of(name) is None)  # what is the role's own comes first
        spelt = {name: flag_of(name, roles) for name in names}

        @functools.wraps(function)
        def command(**parameters: Any) -> Any:
            flags = {name: parameters.pop(_parameter(name)) for name in names if _parameter(name) in parameters}
            given = {name: value for name, value in flags.items() if value not in (None, ())}
            refuse_secrets(given, spelt)
            settings = load_settings(given, spelt=spelt)
            try:
                return function(settings=settings, **parameters)
            except ConfigurationError as error:
                raise with_where(error, settings, given, spelt) from None

        wrapped: Callable[..., Any] = command
        for name in reversed(names):
            options = _option(name, Settings.model_fields[name])
            wrapped = click.option(
                spelt[name], _parameter(name), cls=_SettingOption, section=section_of(name), **options
            )(wrapped)
        return wrapped

    return decorate


def flag_of(name: str, roles: tuple[str, ...]) -> str:
    """The flag of a setting, on a command with these roles."""
    flag = name.removeprefix(f"{roles[0]}_") if len(roles) == 1 else name
    return "--" + flag.replace("_", "-")


def has_flag(name: str) -> bool:
    """Whether the command that runs was given a setting by its flag, and not by the environment or the file."""
    return click.get_current_context().params.get(_parameter(name)) not in (None, ())


def default_of(field: FieldInfo) -> str:
    """A setting's default as people write it, or an empty string when it is to have none."""
    shown = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    return "" if shown in (None, False) else f"{shown:g}" if isinstance(shown, float) else str(shown)


def _parameter(name: str) -> str:
    """The name that click passes a flag by; not the setting's own, which a command may use for an argument."""
    return f"setting_{name}"


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    details = [environment_name(name)]
    if default := default_of(field):
        details.append(f"default {default}")
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
    if name == "iglu_resolver" or name.endswith("_file"):
        return "FILE"
    return "HOST:PORT" if name.endswith("_listen") else "VALUE"
