"""For tests of apps: whether what a builder of contexts makes is as its schema says."""

import asyncio
import contextvars
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from snowbus.bus.canonical import Decoded
from snowbus.bus.canonical import Entity as Described
from snowbus.bus.iglu.config import folder_config, settings_config
from snowbus.bus.iglu.resolver import Resolver
from snowbus.bus.iglu.uri import parse_iglu_uri
from snowbus.bus.validation import validate

from .contexts import Context, ContextError, Entity

_WAIT_SECONDS = 30.0


def check_context(builder: Context, request: Any, *, schemas: str | Path) -> list[Entity]:
    """What a builder makes of a request, once it has been checked.

    `schemas` is a folder of schemas (with `schemas/vendor/name/jsonschema/1-0-0` below it), or a file that configures a
    resolver. Raises ContextError for what is no entity, or not as its schema says, and for a schema that is not found;
    and whatever the builder raises.
    """
    config = folder_config(Path(schemas)) if Path(schemas).is_dir() else settings_config(str(schemas))

    async def check() -> list[Entity]:
        made = builder(request)
        entities = builder.entities(await made if inspect.isawaitable(made) else made)
        uri = parse_iglu_uri(builder.schema)
        async with Resolver(config, wait=_WAIT_SECONDS) as resolver:
            lookups = await resolver.look_up({uri})
        described = [Described(uri, each["data"], f"contexts[{place}]") for place, each in enumerate(entities)]
        verdict = validate(Decoded({}, None, described, []), lookups)
        if verdict.errors:
            raise ContextError(builder.schema, "; ".join(error.sentence for error in verdict.errors))
        if described and verdict.validation != "valid":
            raise ContextError(builder.schema, f"its schema could not be looked up in {schemas}")
        return entities

    # In a thread, as the test may itself run in a loop.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(contextvars.copy_context().run, asyncio.run, check()).result()
