"""What a reader lets us send now: nothing while it pauses, no more events than it permitted."""

from dataclasses import dataclass


@dataclass(slots=True)
class Flow:
    """`permits` is how many events more may be sent, None for any number."""

    paused: bool = False
    permits: int | None = None

    @property
    def limit(self) -> int | None:
        """How many events may be sent now; None for any number."""
        return 0 if self.paused else self.permits

    def permit(self, count: int | None) -> None:
        """Permit so many events more, or with None any number."""
        self.permits = None if count is None else (self.permits or 0) + count

    def spend(self, events: int) -> None:
        """So many events are sent."""
        if self.permits is not None:
            self.permits -= events
