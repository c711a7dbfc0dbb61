"""A Confluent Schema Registry: frames events on their way to Kafka, and takes the frame off those that are read.

What it has answered is kept for good, as an id stands for one schema for ever. So while the registry is away, what is
known goes on; what is not known yet waits, and is lost in no case.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from .. import json_text
from ..basic_authorization import basic_authorization
from ..confluent_frame import SCHEMA_IDS, Writer, framed, is_event, schema_id_of
from ..diagnostics import Diagnostics
from ..download import Downloaded, DownloadError, download
from ..envelope import SCHEMA_NAME, SCHEMA_TEXT
from ..errors import ConfigurationError, JsonError, LogAccessError, LogUnavailableError, SnowbusError
from ..event import ProducerRecord, Record, TopicPartition
from ..sparingly import SparingDiagnostics
from ..tasks import cancelled
from ..tls import client_context, read_secret
from .interface import LogOptions

logger = Diagnostics(__name__)

_new = tuple.__new__  # a named tuple's own takes three times as long
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_ANSWER_SECONDS = 5.0
_ANSWER_BYTES = 5_000_000
_RETRY_SECONDS = 0.5
_COMPLAIN_SECONDS = 30.0
_SUBJECTS = {"topic": "{topic}-value", "record": SCHEMA_NAME, "topic-record": f"{{topic}}-{SCHEMA_NAME}"}


class SchemaRegistry:
    """A registry, and what it has answered so far."""

    def __init__(self, options: LogOptions) -> None:
        """Nothing is asked yet. Raises ConfigurationError."""
        self._url = options.schema_registry.rstrip("/")
        self._subject = _SUBJECTS[options.schema_registry_subjects]
        self._registers = options.schema_registry_mode == "register"
        self._seconds = options.append_timeout
        self._headers = {"Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE, **_credentials(options)}
        self._tls = _tls(options)
        self._ids: dict[str, int] = {}
        self._writers: dict[int, Writer] = {}
        self._asking: dict[str | int, asyncio.Task[None]] = {}
        self._diagnostics = SparingDiagnostics(logger, seconds=_COMPLAIN_SECONDS)
        self._is_away = False

    async def framed(self, topic: str, records: Sequence[ProducerRecord]) -> Sequence[ProducerRecord]:
        """The records with their events framed. Raises LogUnavailableError, LogAccessError."""
        subject = self._subject.format(topic=topic)
        if subject not in self._ids:
            if not any(is_event(record.value) for record in records):
                return records
            await self._known(subject, self._learn_id)
        schema_id = self._ids[subject]
        return [
            _new(ProducerRecord, (key, framed(value, schema_id), headers, timestamp))
            for key, value, headers, timestamp in records
        ]

    async def check(self, topic: str) -> None:
        """Return when events could be framed for a topic now. Raises LogUnavailableError, LogAccessError."""
        subject = self._subject.format(topic=topic)
        if subject not in self._ids:
            await self._learn_id(subject)

    def unknown(self, fetched: Mapping[TopicPartition, Sequence[Record]]) -> set[int]:
        """The ids in the frames of records whose schemas are not known yet."""
        found = {record.value[:5]: record.value for records in fetched.values() for record in records}
        return {each for value in found.values() if (each := schema_id_of(value)) is not None} - self._writers.keys()

    async def learn(self, schema_ids: Iterable[int]) -> None:
        """Wait until these schemas are known. Raises LogUnavailableError, LogAccessError."""
        for schema_id in schema_ids:
            await self._known(schema_id, self._learn_writer)

    def unframed(self, records: list[Record]) -> list[Record]:
        """Records without frames, where there were some; the schemas of all of them must be known."""
        writers, found = self._writers, []
        for record in records:
            topic, partition, offset, timestamp, key, value, headers = record
            schema_id = schema_id_of(value)
            if schema_id is None:
                found.append(record)
            else:
                value = writers[schema_id].unframed(value)
                found.append(_new(Record, (topic, partition, offset, timestamp, key, value, headers)))
        return found

    async def close(self) -> None:
        """Ask no more."""
        await cancelled(self._asking.values())

    async def _known(self, what: Any, learn: Callable[[Any], Awaitable[None]]) -> None:
        """Wait until something is known that all who wait for it ask for together."""
        task = self._asking.get(what)
        if task is None or task.done():
            task = self._asking[what] = asyncio.create_task(self._insist(learn, what), name="snowbus-schema-registry")
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # its waiters may have gone
        await asyncio.shield(task)

    async def _insist(self, learn: Callable[[Any], Awaitable[None]], what: Any) -> None:
        """Ask until there is an answer, for as long as an append may take."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        while True:
            try:
                return await learn(what)
            except LogUnavailableError as error:
                self._is_away = True
                self._diagnostics.warning("the schema registry does not answer; events wait", reason=str(error))
                if asyncio.get_running_loop().time() + _RETRY_SECONDS > deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def _learn_id(self, subject: str) -> None:
        path = f"/subjects/{quote(subject, safe='')}"
        answer = await self._ask(f"{path}/versions" if self._registers else path, post={"schema": SCHEMA_TEXT})
        schema_id = answer.get("id")
        if type(schema_id) is not int or not 0 <= schema_id < SCHEMA_IDS:
            raise LogUnavailableError(f"{self._name} answers without an id of a schema: is it one?")
        self._ids[subject] = schema_id
        self._answered()
        logger.info("events are framed for a schema registry", subject=subject, schema_id=schema_id)

    async def _learn_writer(self, schema_id: int) -> None:
        try:
            self._writers[schema_id] = await self._writer(schema_id)
        except SnowbusError as error:
            raise type(error)(f"records with schema {schema_id} wait: {error}") from None
        self._answered()

    async def _writer(self, schema_id: int) -> Writer:
        answer = await self._ask(f"/schemas/ids/{schema_id}")
        if not isinstance(text := answer.get("schema"), str):
            raise LogUnavailableError(f"{self._name} answers without a schema: is it one?")
        is_avro = answer.get("schemaType") in (None, "AVRO") and not answer.get("references")
        try:
            return Writer(text if is_avro else None)
        except ValueError as error:
            raise LogUnavailableError(f"{self._name} answers with what is {error}"[:500]) from None

    def _answered(self) -> None:
        if self._is_away:
            self._is_away = False
            self._diagnostics.reset()
            logger.info("the schema registry is back")

    @property
    def _name(self) -> str:
        return f"the schema registry at {self._url}"

    async def _ask(self, path: str, *, post: Any = None) -> dict[str, Any]:
        """Its answer. Raises LogUnavailableError for what may pass, LogAccessError for what somebody has to change."""
        try:
            found = await download(
                self._url + path,
                whose="its",
                seconds=_ANSWER_SECONDS,
                limit=_ANSWER_BYTES,
                headers=self._headers,
                post=None if post is None else json_text.dump_bytes(post),
                context=self._tls,
                refusals=True,
            )
        except DownloadError as error:
            raise LogUnavailableError(f"{self._name}: {error} (kafka_schema_registry)") from None
        answer = _json(found)
        said = f"{found.status}, {str(answer.get('message', 'without a reason'))[:500]}"
        match found.status:
            case 200:
                return answer
            case 401 | 403:
                raise LogAccessError(
                    f"{self._name} does not let us in: {said} "
                    "(kafka_schema_registry_username, kafka_schema_registry_password_file)"
                )
            case 404 if post is not None and not self._registers and "error_code" in answer:
                raise LogAccessError(
                    f"{self._name} does not have our schema at {path}: register it, or set "
                    f"kafka_schema_registry_mode to register ({said})"
                )
            case 409 | 422 if post is not None:
                raise LogAccessError(f"{self._name} does not take our schema at {path}: {said}")
            case _:
                raise LogUnavailableError(f"{self._name} answers {said} (kafka_schema_registry)")


def _json(found: Downloaded) -> dict[str, Any]:
    try:
        answer = json_text.loads(found.body.decode("utf-8", "replace"))
    except JsonError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _credentials(options: LogOptions) -> dict[str, str]:
    user, file = options.schema_registry_username, options.schema_registry_password_file
    if not user and not file:
        return {}
    if not user or not file:
        raise ConfigurationError(
            "kafka_schema_registry_username and kafka_schema_registry_password_file are needed together"
        )
    password = read_secret("kafka_schema_registry_password_file", file)
    return {"Authorization": basic_authorization("kafka_schema_registry_username", user, password)}


def _tls(options: LogOptions) -> ssl.SSLContext | None:
    parts = urlsplit(options.schema_registry)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise ConfigurationError("kafka_schema_registry: write http://HOST:PORT or https://HOST:PORT, without a user")
    if parts.scheme == "http":
        return None
    return client_context("kafka_schema_registry", cafile=options.schema_registry_ssl_cafile)
