"""Events framed for a Confluent Schema Registry, on a real Kafka: with a real registry, and with a double of one."""

import asyncio
import json
import urllib.request
from io import BytesIO
from urllib.parse import urlsplit

import fastavro
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from support.aio import run
from support.certificates import Authority
from support.kafka import NoKafkaError
from support.logs import opened, read_on
from support.relay import relay
from support.requirements import require
from support.schema_registry import apicurio, double

from snowbus.bus.confluent_frame import schema_id_of
from snowbus.bus.envelope import SCHEMA_TEXT, decode_event, encode_event
from snowbus.bus.errors import ConfigurationError, EnvelopeError, LogAccessError, LogUnavailableError
from snowbus.bus.event import DELIVERIES_TOPIC, EVENTS_TOPIC, Event, FieldError, ProducerRecord
from snowbus.bus.log import LogOptions, open_log

pytestmark = pytest.mark.real_kafka

EVENT = Event("e1", 1, '{"e":"pv"}', {"ip": "192.0.2.1"}, "p", "invalid", (FieldError("f", "s", "/p", "x", "y"),))
RECORD = ProducerRecord(b"key", encode_event(EVENT), (("event", b"page_view"),))
JSON = ProducerRecord(b"key", b'{"group":"collector"}')


@pytest.fixture(scope="module", params=["double", pytest.param("real", marks=pytest.mark.faults)])
def registry(request, tmp_path_factory):
    """The URL of a registry."""
    if request.param == "double":
        with double() as stand_in:
            yield stand_in.url
        return
    try:
        with apicurio(tmp_path_factory.mktemp("registry")) as url:
            yield url
    except NoKafkaError as reason:
        require("real_kafka", str(reason))


def register(url, subject, schema):
    """Register a schema, as somebody else does."""
    body = json.dumps({"schema": schema}).encode()
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    request = urllib.request.Request(f"{url}/subjects/{subject}/versions", body, headers)
    return json.loads(urllib.request.urlopen(request).read())["id"]


def registered(url, schema_id):
    """The text of a schema."""
    return json.loads(urllib.request.urlopen(f"{url}/schemas/ids/{schema_id}").read())["schema"]


async def nothing_read(member):
    """Poll until there is an error."""
    while True:
        assert await member.poll() == []


def options(url, **more):
    return LogOptions(session_timeout=1.0, schema_registry=url, **more)


async def appended(log, *records, topic=EVENTS_TOPIC):
    await log.create_topics([topic])
    await log.append(topic, records)


async def values(log, count, topic=EVENTS_TOPIC):
    async with await log.read(await log.beginning_offsets(topic)) as reader:
        return [record.value for record in await read_on(reader, count)]


def test_events_are_framed_on_kafka_and_nobody_in_snowbus_sees_it(real_kafka_url, registry):
    async def main():
        async with opened(real_kafka_url) as plain, opened(real_kafka_url, options(registry)) as log:
            await appended(log, RECORD)
            await appended(log, JSON, topic=DELIVERIES_TOPIC)
            await appended(plain, RECORD)
            raw, unframed = await values(plain, 2)
            assert (raw[:1], unframed) == (b"\0", RECORD.value)
            text = registered(registry, schema_id_of(raw))
            assert text == SCHEMA_TEXT
            schema = fastavro.parse_schema(json.loads(text))
            assert fastavro.schemaless_reader(BytesIO(raw[5:]), schema, None)["payload"] == EVENT.payload
            with pytest.raises(EnvelopeError, match="kafka_schema_registry is not set"):
                decode_event(raw)
            assert await values(log, 2) == [RECORD.value] * 2
            assert await values(log, 1, DELIVERIES_TOPIC) == [JSON.value]

    run(main())


def test_events_of_older_and_newer_schemas_are_read_as_ours(real_kafka_url, registry):
    newer, older = json.loads(SCHEMA_TEXT), json.loads(SCHEMA_TEXT)
    newer["fields"].append({"name": "region", "type": "string", "default": ""})
    older["fields"] = [each for each in older["fields"] if each["name"] not in ("validation", "errors")]
    fields = {"event_id": "e1", "ingest_tstamp": 1, "payload": "{}", "source": {}, "producer": "p"}
    more = {"validation": "valid", "errors": [], "region": "eu"}

    async def main():
        ids = []
        async with opened(real_kafka_url) as plain, opened(real_kafka_url, options(registry)) as log:
            for schema, written in ((older, fields), (newer, fields | more), ("string", "no event")):
                ids.append(register(registry, f"{EVENTS_TOPIC}-value", json.dumps(schema)))
                out = BytesIO()
                fastavro.schemaless_writer(out, fastavro.parse_schema(schema), written)
                await appended(plain, ProducerRecord(b"k", b"\0" + ids[-1].to_bytes(4) + out.getvalue()))
            first, second, foreign = await values(log, 3)
            assert decode_event(first) == Event("e1", 1, "{}", {}, "p")
            assert decode_event(second) == Event("e1", 1, "{}", {}, "p", "valid")
            with pytest.raises(EnvelopeError, match=f"framed with schema {ids[-1]:08x}"):
                decode_event(foreign)

    run(main())


def test_confluents_own_client_reads_what_we_write_and_writes_what_we_read(real_kafka_url, registry):
    context = SerializationContext(EVENTS_TOPIC, MessageField.VALUE)

    async def main(client):
        async with opened(real_kafka_url) as plain, opened(real_kafka_url, options(registry)) as log:
            await appended(log, RECORD)
            (raw,) = await values(plain, 1)
            read = await asyncio.to_thread(AvroDeserializer(client), raw, context)
            assert (read["event_id"], read["payload"], read["source"]) == ("e1", EVENT.payload, {"ip": "192.0.2.1"})
            written = await asyncio.to_thread(AvroSerializer(client, SCHEMA_TEXT), read, context)
            await appended(plain, RECORD._replace(value=written))
            assert await values(log, 2) == [RECORD.value] * 2

    with SchemaRegistryClient({"url": registry}) as client:
        run(main(client))


def test_a_registry_that_is_away_keeps_back_only_what_needs_it(real_kafka_url, registry):
    """Nothing is appended unframed, nothing that is read is passed over, and what is known goes on."""

    async def main():
        async with relay() as between:
            url = registry.replace(urlsplit(registry).netloc, between.address)
            async with (
                opened(real_kafka_url, options(url, append_timeout=1.0)) as writer,
                opened(real_kafka_url, options(url, append_timeout=1.0)) as log,
            ):
                with pytest.raises(LogUnavailableError, match=r"the schema registry at http.*kafka_schema_registry"):
                    await writer.append(EVENTS_TOPIC, [RECORD])
                with pytest.raises(LogUnavailableError, match="the schema registry at"):
                    await writer.check()
                between.target = registry
                await writer.append(EVENTS_TOPIC, [RECORD])
                between.target = ""
                between.cut()
                for _ in range(9):
                    await writer.append(EVENTS_TOPIC, [RECORD, RECORD])
                async with await log.join([EVENTS_TOPIC], group_id="group") as member:
                    with pytest.raises(LogUnavailableError, match=r"records with schema \d+ wait: the schema registry"):
                        await nothing_read(member)
                    held = member.assignment
                    asyncio.get_running_loop().call_later(0.2, setattr, between, "target", registry)
                    records = await read_on(member, 19)
                    assert member.assignment == held
                    assert [record.value for record in records] == [RECORD.value] * 19
                    assert [record.offset for record in records] == list(range(19))
                    between.target = ""
                    await writer.append(EVENTS_TOPIC, [RECORD])
                    assert len(await read_on(member, 1)) == 1

    run(main())


def test_what_is_no_answer_of_a_registry_is_waited_out_and_not_kept(real_kafka_url):
    """A page of a proxy, JSON of something else, an id that no frame takes, a schema that is none."""
    neither = (b"<html>Down for maintenance</html>", b"{}", b"[1]")
    no_ids = (b'{"id": 4294967296}', b'{"id": -1}', b'{"id": true}')
    no_schemas = (b'{"schema": 5}', b'{"schema": "{bad"}', b'{"schema": "{\\"type\\": \\"unheard-of\\"}"}')

    async def main(registry):
        url = registry.url
        async with opened(real_kafka_url, options(url)) as writer:
            for registry.instead in (*neither, *no_ids):
                with pytest.raises(LogUnavailableError, match="answers without an id of a schema"):
                    await writer.check()
            registry.instead = b""
            await appended(writer, RECORD)
            async with await open_log(real_kafka_url, options(url, append_timeout=0.1)) as log:
                for registry.instead in (*neither, *no_schemas):
                    with pytest.raises(LogUnavailableError, match="records with schema 1 wait: the schema registry"):
                        await values(log, 1)
                registry.instead = b""
                assert await values(log, 1) == [RECORD.value]

    with double() as registry:
        run(main(registry))


def test_a_schema_that_others_register_is_only_looked_up(real_kafka_url, registry):
    async def main():
        async with await open_log(real_kafka_url, options(registry, schema_registry_mode="look-up")) as log:
            with pytest.raises(LogAccessError, match="does not have our schema at /subjects/"):
                await appended(log, RECORD, topic="test.looked-up")
            register(registry, "test.looked-up-value", SCHEMA_TEXT)
            await appended(log, RECORD, topic="test.looked-up")
            assert await values(log, 1, "test.looked-up") == [RECORD.value]
        async with await open_log(real_kafka_url, options(registry, schema_registry_subjects="topic-record")) as log:
            await appended(log, RECORD, topic="test.named")
            assert await values(log, 1, "test.named") == [RECORD.value]

    run(main())


def test_a_password_and_a_certificate(real_kafka_url, tmp_path):
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue("registry", "IP:127.0.0.1")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret-4711\n")
    wrong.write_text("secret-0815\n")
    given = {"schema_registry_username": "snow", "schema_registry_ssl_cafile": str(authority.file)}

    async def main(url, refusing):
        async with await open_log(
            real_kafka_url, options(url, **given, schema_registry_password_file=str(right))
        ) as log:
            await appended(log, RECORD)
            assert await values(log, 1) == [RECORD.value]
            refusing.add("test.other-value")
            with pytest.raises(LogAccessError, match=r"does not take our schema .* incompatible"):
                await appended(log, RECORD, topic="test.other")
        async with await open_log(
            real_kafka_url, options(url, **given, schema_registry_password_file=str(wrong))
        ) as log:
            with pytest.raises(LogAccessError, match="does not let us in: 401") as refused:
                await appended(log, RECORD)
            assert "0815" not in str(refused.value)
        with pytest.raises(ConfigurationError, match="are needed together"):
            await open_log(real_kafka_url, options(url, **given))
        async with await open_log(real_kafka_url, options(url, append_timeout=0.5)) as log:
            with pytest.raises(LogUnavailableError, match="its certificate is not to be trusted"):
                await appended(log, RECORD)

    with double(password="snow:secret-4711", tls=certificate.server()) as registry:
        run(main(registry.url, registry.incompatible))


@pytest.mark.parametrize("url", ["registry:8081", "http://me:secret@registry", "ftp://registry"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigurationError, match="kafka_schema_registry: write http"):
        run(open_log("kafka://localhost", options(url)))
