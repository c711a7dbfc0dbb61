"""The demo's shop: visitors who look around, fill carts and sometimes order, told by the official Python tracker.

The pages send to ingest over HTTP, as a browser would; the server puts orders on the log itself, with BusEmitter.
"""

import random
import threading
from collections.abc import Iterator
from typing import Literal
from uuid import UUID

from snowplow_tracker import (
    Emitter,
    PagePing,
    PageView,
    SelfDescribing,
    SelfDescribingJson,
    StructuredEvent,
    Subject,
    Tracker,
)
from snowplow_tracker.events import Event

from snowbus.producers.emitters import BusEmitter

_SHOP = "https://shop.example"
_PRODUCTS = (
    ("A-113", "Trail bottle", "outdoor", 19.9),
    ("B-204", "Rain jacket", "clothing", 129.0),
    ("C-007", "Head torch", "outdoor", 34.5),
    ("D-418", "Merino socks", "clothing", 16.0),
    ("E-330", "Folding saw", "tools", 42.0),
)
_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36",
)
_VISITORS_AT_ONCE = 4

Step = tuple[Tracker, Event]


class Shop:
    """Tracks visits from a thread, at about `rate` events a second, until it is closed."""

    def __init__(self, ingest_address: str, *, log: str, rate: float, iglu_resolver: str = "", seed: int = 7) -> None:
        self.tracked = 0
        self._random = random.Random(seed)  # noqa: S311 - a believable shop needs no cryptography
        self._pause = 1 / rate
        self._stop = threading.Event()
        self._bus = BusEmitter(log, iglu_resolver=iglu_resolver)
        self._http = Emitter(
            ingest_address.removeprefix("http://"), protocol="http", method="post", batch_size=1, request_timeout=5
        )
        self._web = Tracker("shop", self._http, app_id="shop-web", subject=Subject().set_platform("web"))
        self._api = Tracker("shop", self._bus, app_id="shop-api", subject=Subject().set_platform("srv"))
        self._thread = threading.Thread(target=self._run, name="demo-shop", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more, and wait until everything tracked has been taken."""
        self._stop.set()
        self._thread.join()
        self._http.flush()
        self._bus.close()

    def _run(self) -> None:
        visits = [self._visit() for _ in range(_VISITORS_AT_ONCE)]
        while not self._stop.wait(self._pause * self._random.uniform(0.3, 1.7)):
            turn = self._random.randrange(len(visits))
            step = next(visits[turn], None)
            if step is None:
                visits[turn] = self._visit()
                continue
            tracker, event = step
            tracker.track(event)
            self.tracked += 1

    def _visit(self) -> Iterator[Step]:
        """One visitor's steps: pages, products put in the cart, perhaps an order, which the shop's server confirms.

        Now and then a quantity is a string, against the schema: a mistake for the live page to show.
        """
        visitor = _Visitor(self._random)
        home = PageView(f"{_SHOP}/", "Outdoor shop", context=[_page("home")], event_subject=visitor.subject())
        yield self._web, home
        cart = 0.0
        for sku, name, category, price in self._random.sample(_PRODUCTS, self._random.randint(1, 3)):
            page = f"{_SHOP}/{category}/{sku.lower()}"
            product = SelfDescribingJson(
                "iglu:dev.snowbus.demo/product/jsonschema/1-0-0",
                {"sku": sku, "name": name, "category": category, "price": price},
            )
            viewed = [_page("product"), product]
            yield self._web, PageView(page, name, context=viewed, event_subject=visitor.subject())
            if self._random.random() < 0.5:
                ping = PagePing(page, name, max_y=900, context=[product], event_subject=visitor.subject())
                yield self._web, ping
            if self._random.random() < 0.6:
                quantity = self._random.randint(1, 3)
                cart += quantity * price
                data = {"sku": sku, "quantity": quantity, "unit_price": price, "currency": "EUR"}
                if self._random.random() < 0.15:
                    data["quantity"] = str(quantity)
                added = SelfDescribingJson("iglu:dev.snowbus.demo/add_to_cart/jsonschema/1-0-0", data)
                yield self._web, SelfDescribing(added, context=[product], event_subject=visitor.subject())
        if cart and self._random.random() < 0.6:
            yield from self._order(visitor, cart)

    def _order(self, visitor: "_Visitor", total: float) -> Iterator[Step]:
        """The order; now and then its payment is tracked with a decimal comma, a mistake for the live page to show."""
        order = SelfDescribingJson(
            "iglu:dev.snowbus.demo/order/jsonschema/1-0-0",
            {"order_id": f"O-{self._random.randrange(10**6):06}", "total": round(total, 2), "currency": "EUR"},
        )
        subject = visitor.subject("srv")
        yield self._api, SelfDescribing(order, event_subject=subject)
        payment = StructuredEvent("payment", "captured", property_="EUR", context=[order], event_subject=subject)
        amount = f"{total:.2f}"
        payment.payload.add("se_va", amount.replace(".", ",") if self._random.random() < 0.4 else amount)
        yield self._api, payment


def _page(kind: str) -> SelfDescribingJson:
    return SelfDescribingJson("iglu:dev.snowbus.demo/page/jsonschema/1-0-0", {"kind": kind})


class _Visitor:
    def __init__(self, chance: random.Random) -> None:
        self._domain_userid = str(UUID(int=chance.getrandbits(128), version=4))
        self._session = str(UUID(int=chance.getrandbits(128), version=4))
        self._user_id = f"u-{chance.randrange(100, 1000)}" if chance.random() < 0.5 else None
        self._agent = chance.choice(_AGENTS)
        self._visits = chance.randint(1, 9)

    def subject(self, platform: Literal["web", "srv"] = "web") -> Subject:
        subject = Subject().set_platform(platform).set_domain_user_id(self._domain_userid)
        subject.set_domain_session_id(self._session).set_domain_session_index(self._visits)
        if platform == "web":
            subject.set_useragent(self._agent).set_lang("en-GB").set_timezone("Europe/Berlin").set_viewport(1280, 720)
        if self._user_id:
            subject.set_user_id(self._user_id)
        return subject
