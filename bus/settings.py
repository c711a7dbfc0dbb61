"""Every setting, as one table: it drives the flags, the `SNOWBUS_*` environment, `snowbus.toml`, `--help` and the docs.

A setting `ingest_listen` is `--listen` on `snowbus ingest`, `--ingest-listen` on `snowbus up`,
`SNOWBUS_INGEST_LISTEN` in the environment and `ingest_listen = …` in `snowbus.toml`. Settings that begin with no
role's name are the same everywhere, but for `worker_…`, which are for the roles that may run in several processes, and
those of validation, which are for whoever puts events on the log or serves schemas.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .log.interface import LogOptions

PositiveInt = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

ROLES = ("ingest", "collect", "gateway", "consume")
WORKER = "worker"
"""What stands for a role in the names of settings that all roles with `--workers` have."""
IGLU = "iglu"
"""What stands for a role in the names of settings that all have who check events, or serve schemas."""
_ROLE_BY_NAME = {"collector": "collect", "group": "collect", "on_invalid": IGLU}

THE_LOG = "The log"
NEW_TOPICS = "Topics that Snowbus makes"
_NEW_TOPICS = (
    "partitions",
    "replication_factor",
    "min_insync_replicas",
    "retention_hours",
    "retention_bytes",
    "create_topics",
)
_SECTIONS = {
    "kafka": "Kafka",
    "logging": "Diagnostics",
    "tracing": "Diagnostics",
    IGLU: "Validation",
    "ingest": "Ingest",
    "collect": "Collector consumer",
    "gateway": "Gateway",
    "consume": "Consumers",
    WORKER: "Workers",
}


def role_of(name: str) -> str | None:
    """The role that a setting belongs to, `worker` for those of whatever has workers, `iglu` for those of whatever has
    to do with schemas, or None when it is for all.
    """
    prefix = name.partition("_")[0]
    return prefix if prefix in (*ROLES, WORKER, IGLU) else _ROLE_BY_NAME.get(name)


def section_of(name: str) -> str:
    """What a setting is about: a title for `--help` and the docs."""
    if name in _NEW_TOPICS:
        return NEW_TOPICS
    return _SECTIONS.get(role_of(name) or name.partition("_")[0], THE_LOG)


def is_secret(name: str) -> bool:
    """Whether a setting is to be shown nowhere; it has no flag."""
    extra = Settings.model_fields[name].json_schema_extra if name in Settings.model_fields else None
    return isinstance(extra, dict) and bool(extra.get("secret"))


class Settings(BaseModel):
    """The settings of all roles. Making one reads nothing but what it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # The log
    log: str = Field(
        "sqlite:///snowbus.db",
        description="Where events are kept: kafka://host:9092,host2:9092 or sqlite:///path, in a folder that is there.",
    )
    append_timeout: PositiveSeconds = Field(
        10.0, description="Seconds until an append that is not durable yet counts as failed."
    )
    max_record_bytes: PositiveInt = Field(1_048_576, description="The largest record, in bytes.")
    session_timeout: PositiveSeconds = Field(
        10.0,
        description="Seconds in which others take over the partitions of a member gone silent (Kafka: 7.5 at least).",
    )
    disk_reserve: int = Field(
        67_108_864,
        ge=0,
        description="Bytes of its disk that the embedded log keeps for offsets of groups and for retention.",
    )

    # Topics that Snowbus makes
    partitions: PositiveInt = Field(
        4, le=10_000, description="Partitions of topics that Snowbus creates, 10,000 at most."
    )
    replication_factor: PositiveInt = Field(1, description="Replicas of the topics that Snowbus creates (Kafka).")
    min_insync_replicas: PositiveInt | None = Field(
        None, description="Replicas that must have a record before it counts (Kafka's min.insync.replicas)."
    )
    retention_hours: float | None = Field(
        None,
        ge=0,
        description="Hours that records are kept (168 unless set, or as Kafka says); 0 keeps them for ever.",
    )
    retention_bytes: int | None = Field(
        None,
        ge=0,
        description="Bytes that are kept of each topic (no limit unless set); 0 sets no limit.",
    )
    create_topics: Literal["missing", "never"] = Field(
        "missing", description="Whether Snowbus creates topics that are missing (Kafka), or says how to."
    )

    # Kafka
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to Kafka."
    )
    kafka_ssl_cafile: str = Field("", description="PEM file of the authorities that sign Kafka's certificates.")
    kafka_ssl_certfile: str = Field("", description="PEM file of our certificate, for mutual TLS.")
    kafka_ssl_keyfile: str = Field("", description="PEM file of the key to our certificate.")
    kafka_ssl_key_password_file: str = Field(
        "", description="File of the password of the key to our certificate; a line."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="How to authenticate to Kafka, with a SASL_* protocol."
    )
    kafka_sasl_username: str = Field("", description="The user name at Kafka.")
    kafka_sasl_password: str = Field("", description="The password at Kafka.", json_schema_extra={"secret": True})
    kafka_sasl_password_file: str = Field("", description="File of the password at Kafka; a line.")

    kafka_schema_registry: str = Field(
        "", description="URL of a Confluent Schema Registry; then events are framed as its tools want them."
    )
    kafka_schema_registry_mode: Literal["register", "look-up"] = Field(
        "register", description="Whether Snowbus registers the schema of events, or only looks up what others did."
    )
    kafka_schema_registry_subjects: Literal["topic", "record", "topic-record"] = Field(
        "topic", description="How the schema's subject is named: TOPIC-value, com.snowbus.Event, or both with a dash."
    )
    kafka_schema_registry_username: str = Field("", description="The user name at the registry.")
    kafka_schema_registry_password_file: str = Field("", description="File of the password at the registry; a line.")
    kafka_schema_registry_ssl_cafile: str = Field(
        "", description="PEM file of the authorities that sign the registry's certificate."
    )

    # Diagnostics
    logging_format: Literal["auto", "human", "json"] = Field(
        "auto", description="How diagnostics are written to stderr; auto is human on a terminal, else json."
    )
    logging_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is written."
    )
    tracing: bool = Field(
        False,
        description="Send what is done in traces to where the OTEL_… variables say, by OTLP over HTTP (needs the extra "
        "snowbus[otel]).",
    )

    # Validation
    iglu_resolver: str = Field(
        "",
        description="File that says which registries schemas are looked up in, in Snowplow's own form; unless set, "
        "events are checked against schemas only where they come with Snowbus.",
    )
    iglu_wait: float = Field(
        0.25,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that an event waits for its schema, when that is looked up for the first time.",
    )
    on_invalid: Literal["forward", "divert"] = Field(
        "forward",
        description="What becomes of an event that is invalid: it goes on, marked so; or to the topic snowbus.bad.",
    )

    # Ingest
    ingest_listen: str = Field("127.0.0.1:8080", description="HOST:PORT of ingest; port 0 picks a free one.")
    ingest_max_body_bytes: PositiveInt = Field(
        1_000_000, description="The largest request body, also once it is unpacked; what is larger gets 413."
    )
    ingest_max_events: PositiveInt = Field(
        10_000, description="Events in one request at most, as all wait while they are read; with more it gets 413."
    )
    ingest_max_pending: PositiveInt = Field(
        2_000, description="Requests that may wait for the log; what comes beyond gets 503."
    )
    ingest_max_pending_bytes: PositiveInt = Field(
        64_000_000,
        description="Bytes of waiting requests, and of bodies that come in pieces, at most; what is beyond gets 503.",
    )
    ingest_body_timeout: PositiveSeconds = Field(
        30.0, description="Seconds in which a request's body must arrive, else it gets 408."
    )
    ingest_retry_after: PositiveInt = Field(5, description="Seconds in the Retry-After of a 503.")
    ingest_cookie_name: str = Field("sp", description="The cookie with the network user id; empty sets none.")
    ingest_cookie_domains: tuple[str, ...] = Field(
        (), description="Domains that the cookie may be for: of them the first that the page's Origin lies in."
    )
    ingest_cookie_fallback_domain: str = Field(
        "", description="The cookie's domain where no other is the page's; empty is the host asked for."
    )
    ingest_cookie_days: PositiveInt = Field(365, description="Days that the cookie lives.")
    ingest_cookie_attributes: str = Field(
        "SameSite=None; Secure; HttpOnly",
        description="The cookie's attributes, of SameSite=None, Lax or Strict, Secure, HttpOnly and Partitioned.",
    )
    ingest_allowed_origins: tuple[str, ...] = Field(
        (),
        description="Origins of the web pages that may read answers, and so send JSON; any may unless some are named.",
    )
    ingest_paths: tuple[str, ...] = Field(
        (),
        description="Paths of your own that stand for one of the collector's, each "
        "/VENDOR/VERSION=/com.snowplowanalytics.snowplow/tp2 (or =/r/tp2).",
    )
    ingest_redirect_domains: tuple[str, ...] = Field(
        (),
        description="Hosts that a click redirect, /r/tp2?u=URL, may lead to (*.example.com: all below it); "
        "redirects are off unless some are named.",
    )
    ingest_api_keys_file: str = Field(
        "",
        description="File of the API keys that senders must show, each a line, NAME KEY, and perhaps its events a "
        "second; it is read again when it changes. Unless set, no key is asked for.",
    )
    ingest_key_rate: float = Field(
        0, ge=0, allow_inf_nan=False, description="Events a second for a key that has no rate of its own; 0 is any."
    )
    ingest_trusted_proxies: tuple[str, ...] = Field(
        (), description="Networks (CIDR) whose X-Forwarded-For is believed."
    )

    # Collector consumer
    collector: tuple[str, ...] = Field(
        (),
        description="URL of the Snowplow collector that events are forwarded to; given several times (or with commas), "
        "the first that takes events gets them.",
    )
    group: str = Field("collector", description="The group that the collector consumer reads in.")
    collect_listen: str = Field(
        "127.0.0.1:8082",
        description="HOST:PORT of /health, /ready and /metrics; each further worker takes the next port, and port 0 "
        "picks a free one.",
    )
    collect_batch_events: PositiveInt = Field(200, description="Events in one request, at most.")
    collect_batch_bytes: int = Field(
        1_000_000, gt=1_000, le=1_048_576, description="Bytes of one request's body, at most."
    )
    collect_linger: float = Field(
        0.02, ge=0, le=60, description="Seconds that a request waits for more events when there are few."
    )
    collect_in_flight: PositiveInt = Field(
        64, description="Requests under way at once, at most; fewer while it is slow or overloaded."
    )
    collect_max_in_flight: PositiveInt = Field(
        20_000,
        description="Events sent and not yet committed, at most, which is what is sent again after a SIGKILL.",
    )
    collect_timeout: PositiveSeconds = Field(30.0, description="Seconds until a request without an answer failed.")
    collect_connect_timeout: PositiveSeconds = Field(10.0, description="Seconds of a request to connect, TLS included.")
    collect_read_timeout: PositiveSeconds = Field(
        25.0, description="Seconds of a request without a byte, once it is sent or its answer has begun."
    )
    collect_gzip: bool = Field(
        default=False,
        description="Compress requests. Only for collectors that are known to unpack them: others may answer 200 and "
        "lose the events.",
    )
    collect_username: str = Field("", description="The user name at the collector, for basic authentication.")
    collect_password: str = Field("", description="The password at the collector.", json_schema_extra={"secret": True})
    collect_headers: tuple[str, ...] = Field(
        (),
        description="More headers of each request, each 'Name: value'; in the environment one a line.",
        json_schema_extra={"secret": True},
    )
    collect_headers_file: str = Field(
        "",
        description="File of more headers, each a line 'Name: value', where keys belong; it is read again when it "
        "changes.",
    )
    collect_ssl_cafile: str = Field(
        "", description="PEM file of the authorities that sign the collector's certificate."
    )
    collect_ssl_certfile: str = Field("", description="PEM file of our certificate, for mutual TLS.")
    collect_ssl_keyfile: str = Field("", description="PEM file of the key to our certificate.")
    collect_ssl_key_password_file: str = Field(
        "", description="File of the password of the key to our certificate; a line."
    )
    collect_proxy: str = Field(
        "", description="URL of an HTTP proxy to the collector, http://[USER:PASSWORD@]HOST:PORT."
    )
    collect_failback: PositiveSeconds = Field(
        30.0, description="Seconds between tries of a collector that is away while another takes its events, at most."
    )
    collect_backoff: PositiveSeconds = Field(0.5, description="Seconds before the first retry, about.")
    collect_backoff_max: PositiveSeconds = Field(
        5.0, description="Seconds between retries, at most; six times that where only a change of configuration helps."
    )
    collect_refusals: int = Field(
        100,
        ge=0,
        description="Events in a row that a collector may refuse, each sent alone, before it is taken to refuse "
        "everything, and the others wait; with 0 every event that is refused dies.",
    )
    collect_drain_timeout: PositiveSeconds = Field(
        20.0, description="Seconds that requests under way get to finish at a stop or a rebalance."
    )

    # Gateway
    gateway_listen: str = Field("127.0.0.1:8081", description="HOST:PORT of the gateway; port 0 picks a free one.")
    gateway_ingest_url: str = Field(
        "",
        description="URL of ingest, without a path, for the commands that the live page offers; `up` knows its own.",
    )
    gateway_insecure: bool = Field(
        default=False, description="Listen on an address beyond loopback without asking for tokens."
    )
    gateway_tokens: tuple[str, ...] = Field(
        (), description="Tokens that readers may show; each gives every right.", json_schema_extra={"secret": True}
    )
    gateway_tokens_file: str = Field(
        "",
        description="File of tokens that readers may show, each a line, NAME TOKEN and its scopes; it is read again "
        "when it changes.",
    )
    gateway_jwt_secret: str = Field(
        "", description="The secret of signed tokens (JWT) with HS256.", json_schema_extra={"secret": True}
    )
    gateway_jwt_secret_file: str = Field(
        "",
        description="File of the secrets of signed tokens (JWT) with HS256, each a line; it is read again when it "
        "changes.",
    )
    gateway_jwt_public_key: str = Field(
        "",
        description="PEM file of the public keys, one or more, of signed tokens with RS256; it is read again when it "
        "changes.",
    )
    gateway_jwks_url: str = Field(
        "", description="URL or file of the public keys of signed tokens with RS256, a JSON Web Key Set."
    )
    gateway_jwks_refresh: PositiveSeconds = Field(
        300.0, description="Seconds after which a JSON Web Key Set is fetched anew."
    )
    gateway_jwt_audience: str = Field("", description="The audience that signed tokens must be for; empty takes any.")
    gateway_jwt_issuer: str = Field("", description="The issuer that signed tokens must be from; empty takes any.")
    gateway_mask: bool = Field(
        default=False, description="Mask personal data where no tokens are asked for and anybody may read."
    )
    gateway_masked_fields: tuple[str, ...] = Field(
        (), description="Canonical fields that are masked, besides those that are always personal."
    )
    gateway_masked_entities: tuple[str, ...] = Field(
        (),
        description="Iglu URIs (* in the version) of entities and events whose data is masked, besides what always is.",
    )
    gateway_allowed_origins: tuple[str, ...] = Field(
        (), description="Origins of web pages, besides our own, that may connect."
    )
    gateway_max_connections: PositiveInt = Field(2_000, description="Websockets at once, at most.")
    gateway_max_connections_per_token: PositiveInt = Field(
        200, description="Websockets with one token, or of one subject, at most."
    )
    gateway_ring_events: PositiveInt = Field(20_000, description="Latest events kept in memory for live readers.")
    gateway_ring_bytes: PositiveInt = Field(64_000_000, description="Bytes of the latest events in memory, at most.")
    gateway_heartbeat: PositiveSeconds = Field(10.0, description="Seconds of silence before a heartbeat.")
    gateway_ping: PositiveSeconds = Field(
        20.0, description="Seconds that a reader may be silent before a ping, and then until it counts as gone."
    )
    gateway_group_in_flight: PositiveInt = Field(
        2_000,
        description="Events that the connections of one group to this gateway may have and not have acknowledged, at "
        "most; their max_in_flight together is no more.",
    )
    gateway_group_deliveries: PositiveInt = Field(
        5,
        description="How many deliveries of a group's event may fail: it is not acknowledged in time, asked for again "
        "at once, or what its client was lost with. Then it goes to the dead letters.",
    )

    # Consumers
    consume_listen: str = Field(
        "127.0.0.1:8083",
        description="HOST:PORT of /health, /ready and /metrics; each further worker takes the next port, and port 0 "
        "picks a free one.",
    )
    consume_drain_timeout: PositiveSeconds = Field(
        20.0, description="Seconds that handlers under way get to finish at a stop or a rebalance."
    )

    # Workers
    worker_backoff: PositiveSeconds = Field(
        0.5, description="Seconds before a worker that died is started again, about; twice as many each time."
    )
    worker_backoff_max: PositiveSeconds = Field(
        60.0, description="Seconds before a worker that died is started again, at most."
    )
    worker_stuck_timeout: PositiveSeconds = Field(
        30.0, description="Seconds without a good /health after which a worker is killed and started again."
    )

    @field_validator(
        "ingest_cookie_domains",
        "ingest_allowed_origins",
        "ingest_paths",
        "ingest_redirect_domains",
        "ingest_trusted_proxies",
        "gateway_tokens",
        "gateway_allowed_origins",
        "gateway_masked_fields",
        "gateway_masked_entities",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        """A list is written with commas where there are no lists: in the environment."""
        return _parts(value, ",") if isinstance(value, str) else value

    @field_validator("collector", mode="before")
    @classmethod
    def _split_collectors(cls, value: Any) -> Any:
        """Several may be written with commas everywhere, as one does with brokers."""
        urls = (value,) if isinstance(value, str) else value
        if not isinstance(urls, list | tuple):
            return value
        return tuple(url for each in urls for url in (_parts(each, ",") if isinstance(each, str) else (each,)))

    @field_validator("collect_headers", mode="before")
    @classmethod
    def _split_lines(cls, value: Any) -> Any:
        """Commas stand in the values of headers."""
        return _parts(value, "\n") if isinstance(value, str) else value

    def log_options(self) -> LogOptions:
        """What to open the log with."""
        return LogOptions(
            partitions=self.partitions,
            replication_factor=self.replication_factor,
            min_insync_replicas=self.min_insync_replicas,
            create_topics=self.create_topics,
            append_timeout=self.append_timeout,
            max_record_bytes=self.max_record_bytes,
            retention_seconds=None if self.retention_hours is None else self.retention_hours * 3600,
            retention_bytes=self.retention_bytes,
            disk_reserve=self.disk_reserve,
            session_timeout=self.session_timeout,
            security_protocol=self.kafka_security_protocol,
            ssl_cafile=self.kafka_ssl_cafile,
            ssl_certfile=self.kafka_ssl_certfile,
            ssl_keyfile=self.kafka_ssl_keyfile,
            ssl_key_password_file=self.kafka_ssl_key_password_file,
            sasl_mechanism=self.kafka_sasl_mechanism,
            sasl_username=self.kafka_sasl_username,
            sasl_password=self.kafka_sasl_password,
            sasl_password_file=self.kafka_sasl_password_file,
            schema_registry=self.kafka_schema_registry,
            schema_registry_mode=self.kafka_schema_registry_mode,
            schema_registry_subjects=self.kafka_schema_registry_subjects,
            schema_registry_username=self.kafka_schema_registry_username,
            schema_registry_password_file=self.kafka_schema_registry_password_file,
            schema_registry_ssl_cafile=self.kafka_schema_registry_ssl_cafile,
        )


def _parts(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())
