"""Everything that may go wrong with a bus, by chance."""

import random
import time
from collections import Counter
from collections.abc import Sequence

from support.collector_double import CollectorDouble
from support.fleet import Fleet, Member
from support.kafka import KafkaServer
from support.services import Services


class Troubles:
    """Kills and freezes, of which `counts` says how many there were. Nobody kills the members in `spared`."""

    def __init__(
        self,
        fleet: Fleet,
        services: Sequence[Services],
        *,
        collector: CollectorDouble,
        kafka: KafkaServer,
        spared: Sequence[Member],
        seed: int,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._fleet = fleet
        self._services = services
        self._collector = collector
        self._kafka = kafka
        self._spared = spared
        self._kinds = {
            "role killed": self._kill_a_role,
            "role frozen": self._freeze_a_role,
            "service killed": self._kill_a_service,
            "collector away": self._take_the_collector_away,
            "broker killed": kafka.restart,
            "broker frozen": self._freeze_the_broker,
        }

    def one(self) -> None:
        """Let one thing go wrong, until it is over."""
        kind = self._chance.choice(list(self._kinds))
        self._kinds[kind]()
        self.counts[kind] += 1

    def _kill_a_role(self) -> None:
        self._fleet.restart(self._chance.choice([each for each in self._fleet.members if each not in self._spared]))

    def _freeze_a_role(self) -> None:
        self._fleet.freeze(self._chance.choice(self._fleet.members), self._some_seconds())

    def _kill_a_service(self) -> None:
        self._chance.choice(self._services).kill_one(self._chance)

    def _take_the_collector_away(self) -> None:
        self._collector.down()
        time.sleep(self._some_seconds())
        self._collector.up()

    def _freeze_the_broker(self) -> None:
        self._kafka.pause()
        time.sleep(self._some_seconds())
        self._kafka.resume()

    def _some_seconds(self) -> float:
        return self._chance.uniform(1.0, 8.0)
