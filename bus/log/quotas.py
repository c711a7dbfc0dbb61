"""How the embedded logs share the partitions of a topic out among the members of a group."""

from collections.abc import Mapping


def quotas(held: Mapping[str, int], partitions: int) -> dict[str, int]:
    """How many of the partitions each member should have, given how many it has: as equal as can be, moving few."""
    least, extra = divmod(partitions, len(held))
    by_most_held = sorted(held, key=lambda member: (-held[member], member))
    return {member: least + (position < extra) for position, member in enumerate(by_most_held)}
