"""How a Kafka URL is read, what aiokafka's errors mean, and how batches are cut."""

import asyncio
from collections import deque

import pytest
from aiokafka import errors as aiokafka_errors
from support.aio import run

from snowbus.bus.errors import (
    ConfigurationError,
    LogAccessError,
    LogClosedError,
    LogError,
    LogUnavailableError,
    MetadataTooLargeError,
    NotAssignedError,
    SnowbusError,
    TopicNotFoundError,
)
from snowbus.bus.event import ProducerRecord
from snowbus.bus.log import LogOptions, open_log
from snowbus.bus.log import kafka_errors as table
from snowbus.bus.log.kafka_calls import Call, take
from snowbus.bus.log.kafka_errors import BatchRefusedError, SequenceLostError, mapped
from snowbus.bus.log.kafka_url import has_password, parse_url, without_password

SASL = "security_protocol=SASL_SSL&sasl_username=me&sasl_password=s%26cret"


@pytest.mark.parametrize(
    ("servers", "addresses"),
    [
        ("one", [("one", 9092)]),
        ("one:1234", [("one", 1234)]),
        ("one:1,two,three:3", [("one", 1), ("two", 9092), ("three", 3)]),
        ("[::1]:9093", [("::1", 9093)]),
        ("[::1]", [("::1", 9092)]),
    ],
)
def test_servers(servers, addresses):
    assert parse_url(f"kafka://{servers}", LogOptions()) == (addresses, LogOptions())


def test_the_query_goes_over_the_options():
    _, options = parse_url(f"kafka://one?{SASL}&append_timeout=2.5&partitions=12", LogOptions(sasl_username="you"))
    assert options == LogOptions(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="me",
        sasl_password="s&cret",
        append_timeout=2.5,
        partitions=12,
    )


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("kafka://", "HOST:PORT"),
        ("kafka://one:port", "HOST:PORT"),
        ("kafka://one:99999", "HOST:PORT"),
        ("kafka://one,,two", "HOST:PORT"),
        ("kafka://one/topic", "kafka://host"),
        ("kafka://me:secret@one", "no user can stand there; set kafka_sasl_username, and kafka_sasl_password_file"),
        ("kafka://me:sec?ret@one", "log .kafka://….: no user can stand there"),
        ("kafka://one?acks=1", "no parameter 'acks'"),
        ("kafka://one?partitions=many", "partitions='many'"),
        ("kafka://one?security_protocol=TLS", "SASL_SSL"),
        ("kafka://one?security_protocol=SASL_SSL", "sasl_username"),
        (f"kafka://one?{SASL}&sasl_mechanism=GSSAPI", "SCRAM-SHA-512"),
        ("kafka://one?security_protocol=SSL&ssl_cafile=/no/such/file", "ssl_cafile"),
    ],
)
def test_a_url_that_cannot_work_is_refused_when_the_log_is_opened(url, part):
    with pytest.raises(ConfigurationError, match=part.replace("?", r"\?")):
        run(open_log(url))


def test_a_password_is_not_kept_in_the_url():
    async def main():
        async with await open_log(f"kafka://one?{SASL.replace('SASL_SSL', 'SASL_PLAINTEXT')}&partitions=2") as log:
            assert log.url == "kafka://one?security_protocol=SASL_PLAINTEXT&sasl_username=me&partitions=2"
            assert log.options.sasl_password == "s&cret"

    run(main())


@pytest.mark.parametrize(
    ("url", "shown", "has"),
    [
        ("kafka://one", "kafka://one", False),
        ("kafka://one?sasl_password=x", "kafka://one", True),
        ("kafka://one?sasl%5Fpassword=s@cret&partitions=2", "kafka://one?partitions=2", True),
        ("kafka://one?sasl_pasword=secret&partitions=2", "kafka://one", False),
        ("kafka://me:secret@one?partitions=2", "kafka://…@one?partitions=2", False),
        ("kafka://me:sec?ret@one", "kafka://…", False),
        ("sqlite:////home/me@acme/log.db", "sqlite:////home/me@acme/log.db", False),
    ],
)
def test_nothing_secret_of_a_url_is_shown(url, shown, has):
    assert without_password(url) == shown
    assert has_password(url) == has


def all_of_aiokafka():
    """Every error class of aiokafka."""
    found = [each for each in vars(aiokafka_errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    base = aiokafka_errors.BrokerResponseError  # which is never raised
    return [each for each in found if each.__module__ == aiokafka_errors.__name__ and each is not base]


NOT_RETRIABLE = {
    # What says so by its name, and what an application does wrong: all plain LogErrors.
    *("AuthenticationFailedError", "ClusterAuthorizationFailedError", "ConcurrentTransactions"),
    *("DelegationTokenAuthDisabled", "DelegationTokenAuthorizationFailed", "DelegationTokenExpired"),
    *("DelegationTokenNotFound", "DelegationTokenOwnerMismatch", "DelegationTokenRequestNotAllowed"),
    *("FetchSessionIdNotFound", "GroupAuthorizationFailedError", "GroupIdNotFound", "IllegalArgumentError"),
    *("IllegalOperation", "IllegalSaslStateError", "InvalidCommitOffsetSizeError", "InvalidFetchRequestError"),
    *("InvalidFetchSessionEpoch", "InvalidPrincipalType", "InvalidRequestError", "InvalidRequiredAcksError"),
    *("InvalidTransactionTimeout", "InvalidTxnState", "ListenerNotFound", "LogDirNotFound", "MemberIdRequired"),
    *("NoError", "NoOffsetForPartitionError", "NonEmptyGroup", "OffsetOutOfRangeError"),
    *("OperationNotAttempted", "QuotaViolationError", "ReassignmentInProgress", "RecordTooLargeError"),
    *("SaslAuthenticationFailed", "SecurityDisabled", "TopicAlreadyExistsError", "TopicAuthorizationFailedError"),
    *("TransactionCoordinatorFenced", "TransactionalIdAuthorizationFailed"),
}


@pytest.mark.parametrize("error", all_of_aiokafka(), ids=lambda error: error.__name__)
def test_every_error_of_aiokafka_is_one_of_ours(error):
    """One that is new there fails here until somebody has said what it means."""
    mine = mapped(error("something"), topic="snowbus.events")
    assert isinstance(mine, SnowbusError)
    assert len(str(mine)) > 10
    if type(mine) is LogError:
        assert error.__name__ in NOT_RETRIABLE
        assert not getattr(error, "retriable", False)


@pytest.mark.parametrize(
    ("error", "mine"),
    [
        (aiokafka_errors.UnknownTopicOrPartitionError(), TopicNotFoundError),
        (aiokafka_errors.CommitFailedError(), NotAssignedError),
        (aiokafka_errors.ConsumerStoppedError(), LogClosedError),
        (aiokafka_errors.MessageSizeTooLargeError(), BatchRefusedError),
        (aiokafka_errors.OffsetMetadataTooLargeError(), MetadataTooLargeError),
        (aiokafka_errors.OutOfOrderSequenceNumber(), SequenceLostError),
        (aiokafka_errors.NotEnoughReplicasError(), LogUnavailableError),
        (aiokafka_errors.KafkaConnectionError(), LogUnavailableError),
        (ConnectionRefusedError(), LogUnavailableError),
        (aiokafka_errors.InvalidReplicationFactorError(), ConfigurationError),
        (aiokafka_errors.SaslAuthenticationFailed(), LogAccessError),
        (aiokafka_errors.TopicAuthorizationFailedError(), LogAccessError),
    ],
)
def test_what_errors_mean(error, mine):
    assert type(mapped(error)) is mine


def test_the_table_names_only_what_there_is():
    names = {each.__name__ for each in all_of_aiokafka()}
    for entries, _ in table._TABLE:
        assert entries <= names


def test_batches_are_cut_by_size_and_count_and_leave_out_who_has_gone():
    async def main():
        patient, gone = Call(10, deadline=1.0), Call(1, deadline=1.0)
        gone.future.cancel()
        record = ProducerRecord(b"k", b"")

        def waiting(*sizes):
            return deque((patient, place, record, size) for place, size in enumerate(sizes))

        queue = waiting(200_000, 200_000, 200_000, 900_000, 1, 1)
        cuts = []
        while queue:
            cuts.append([slot[1] for slot in take(queue, at_most=3)])
        assert cuts == [[0, 1], [2], [3], [4, 5]]
        queue = waiting(1, 1, 1, 1, 1)
        assert len(take(queue, at_most=3)) == 3
        queue.appendleft((gone, 0, record, 10))
        queue.append((gone, 0, record, 10))
        assert [slot[1] for slot in take(queue, at_most=3)] == [3, 4]
        assert not queue
        await asyncio.sleep(0)

    run(main())
