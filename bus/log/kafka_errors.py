"""What Kafka's errors mean here: one table, by the names that aiokafka gives them."""

from collections.abc import Callable

from ..errors import (
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


class BatchRefusedError(LogError):
    """Kafka cannot take a batch because of a record in it; `too_large` says that it is its size."""

    def __init__(self, reason: str, *, too_large: bool) -> None:
        super().__init__(reason)
        self.too_large = too_large


class SequenceLostError(LogUnavailableError):
    """Kafka does not know the producer any more, or misses a batch before this one; a fresh producer may go on."""


NOT_FOUND = {"UnknownTopicOrPartitionError"}
NOT_ASSIGNED = {
    "CommitFailedError",
    "IllegalGenerationError",
    "IllegalStateError",
    "RebalanceInProgressError",
    "UnknownMemberIdError",
}
NOT_LET_IN = {"AuthenticationFailedError", "SaslAuthenticationFailed"}
WITHOUT_SASL = {"IllegalSaslStateError"}
WITHOUT_RIGHT = {
    "ClusterAuthorizationFailedError",
    "GroupAuthorizationFailedError",
    "TopicAuthorizationFailedError",
    "TransactionalIdAuthorizationFailed",
}
CLOSED = {"ConsumerStoppedError", "ProducerClosed"}
TOO_LARGE = {"MessageSizeTooLargeError", "RecordListTooLargeError"}
METADATA_TOO_LARGE = {"OffsetMetadataTooLargeError"}
REFUSED = {
    "CorruptRecordException",
    "InvalidTimestampError",
    "PolicyViolationError",
    "UnknownError",
    "UnsupportedForMessageFormatError",
}
SEQUENCE_LOST = {
    "InvalidProducerEpoch",
    "InvalidProducerIdMapping",
    "OutOfOrderSequenceNumber",
    "ProducerFenced",
    "UnknownProducerId",
}
UNAVAILABLE = {
    "BrokerNotAvailableError",
    "DuplicateSequenceNumber",
    "KafkaError",  # what aiokafka says of its own surprises; a fresh consumer may do better
    "KafkaTimeoutError",
    "KafkaUnavailableError",
    "ReplicaNotAvailableError",
    "StaleControllerEpochError",
    "StaleLeaderEpochCodeError",
}
CONFIGURATION = {
    "AuthenticationMethodNotSupported",
    "IncompatibleBrokerVersion",
    "InconsistentGroupProtocolError",
    "InvalidConfigurationError",
    "InvalidGroupIdError",
    "InvalidPartitionsError",
    "InvalidReplicationAssignmentError",
    "InvalidReplicationFactorError",
    "InvalidSessionTimeoutError",
    "InvalidTopicError",
    "KafkaConfigurationError",
    "UnrecognizedBrokerVersion",
    "UnsupportedCodecError",
    "UnsupportedSaslMechanismError",
    "UnsupportedVersionError",
}


_WHO = (
    "Kafka does not take our user and password: check kafka_sasl_username, kafka_sasl_mechanism, and "
    "kafka_sasl_password_file or SNOWBUS_KAFKA_SASL_PASSWORD"
)
_NO_SASL = (
    "Kafka does not ask for a user and password where we have come: kafka_security_protocol is SSL or PLAINTEXT there"
)
_NO_RIGHT = "our user lacks a right there: docs/kafka.md lists the ACLs that each role needs"


def mapped(error: BaseException, *, topic: str = "", let_in: bool = False) -> SnowbusError:
    """Our own error for one of aiokafka's, or of the operating system's.

    What may pass by itself is LogUnavailableError; what somebody has to change is ConfigurationError or LogError. Once
    the cluster has `let_in` our settings are right, and it is Kafka where something changes.
    """
    name, text = type(error).__name__, f"Kafka: {str(error).rstrip(': ')}"
    passing = isinstance(error, OSError) or bool(getattr(error, "retriable", False))
    for names, own in _TABLE:
        if name in names:
            mine = own(name, text, topic)
            return LogUnavailableError(str(mine)) if let_in and name in NOT_LET_IN | WITHOUT_SASL else mine
    return LogUnavailableError(text) if passing else LogError(text)


_TABLE: tuple[tuple[set[str], Callable[[str, str, str], SnowbusError]], ...] = (
    (NOT_FOUND, lambda _name, _text, topic: TopicNotFoundError(topic)),
    (NOT_ASSIGNED, lambda name, _text, _topic: NotAssignedError(f"not this member's partitions any more ({name})")),
    (NOT_LET_IN, lambda _name, _text, _topic: LogAccessError(_WHO)),
    (WITHOUT_SASL, lambda _name, _text, _topic: LogAccessError(_NO_SASL)),
    (WITHOUT_RIGHT, lambda _name, text, _topic: LogAccessError(f"{text}; {_NO_RIGHT}")),
    (CLOSED, lambda _name, _text, _topic: LogClosedError("the log is closed")),
    (TOO_LARGE, lambda _name, text, _topic: BatchRefusedError(text, too_large=True)),
    (METADATA_TOO_LARGE, lambda _name, _text, _topic: MetadataTooLargeError()),
    (REFUSED, lambda _name, text, _topic: BatchRefusedError(text, too_large=False)),
    (SEQUENCE_LOST, lambda _name, text, _topic: SequenceLostError(text)),
    (CONFIGURATION, lambda _name, text, _topic: ConfigurationError(text)),
    (UNAVAILABLE, lambda _name, text, _topic: LogUnavailableError(text)),
)
