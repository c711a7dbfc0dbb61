"""Iglu URIs: `iglu:vendor/name/format/model-revision-addition`.

Source: Snowplow's Iglu documentation, "Iglu URI" and "SchemaVer".
"""

import re
from functools import lru_cache
from typing import NamedTuple

from ..errors import PayloadError

_URI = re.compile(
    r"iglu:([a-zA-Z0-9_.-]+)/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)"
    r"/([1-9][0-9]*)-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)"
)
_CAMEL = re.compile(r"([^A-Z_])([A-Z])")


class IgluUri(NamedTuple):
    """The parts of an Iglu URI; `model`, `revision` and `addition` are the three numbers of its SchemaVer."""

    vendor: str
    name: str
    format: str
    model: int
    revision: int
    addition: int

    @property
    def version(self) -> str:
        """The SchemaVer, for example `1-0-2`."""
        return f"{self.model}-{self.revision}-{self.addition}"

    @property
    def path(self) -> str:
        """Where the schema stands below `schemas/` in a static registry."""
        return f"{self.vendor}/{self.name}/{self.format}/{self.version}"

    def __str__(self) -> str:
        return f"iglu:{self.path}"

    def column(self, prefix: str) -> str:
        """The name that the Analytics SDKs give: `contexts_com_acme_user_data_1` for `contexts` and userData 1-0-0."""
        vendor = self.vendor.replace(".", "_").replace("-", "_").lower()
        name = _CAMEL.sub(r"\1_\2", self.name).replace("-", "_").lower()
        return f"{prefix}_{vendor}_{name}_{self.model}"


@lru_cache(maxsize=4096)
def parse_iglu_uri(text: str) -> IgluUri:
    """The parts of an Iglu URI. Raises PayloadError when it is not one."""
    match = _URI.fullmatch(text) if len(text) < 1000 else None
    if match is None:
        raise PayloadError(f"not an Iglu URI (iglu:vendor/name/jsonschema/1-0-0): {text[:200]!r}")
    vendor, name, format_, model, revision, addition = match.groups()
    if not vendor.strip("."):  # such a vendor would be a way up from the folder of a registry
        raise PayloadError(f"not an Iglu URI, as its vendor is {vendor!r}: {text[:200]!r}")
    return IgluUri(vendor, name, format_, int(model), int(revision), int(addition))
