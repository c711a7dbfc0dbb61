"""A Kafka as companies run it: a listener for each way to come in, and an authorizer that asks who may do what."""

from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from .certificates import Authority
from .kafka import KafkaServer, discard, free_ports

PASSWORD = "plough-4711"
ADMIN = "snow"
"""May do everything, and so may who comes with the certificate `client`, or over PLAINTEXT."""
USERS = ("ingest", "collect", "gateway", "consume", "publish", "status", "nobody")
"""May do what they are granted, by SASL PLAIN alone."""

_LOGIN = "org.apache.kafka.common.security"


class SecureKafka(KafkaServer):
    """The broker; `tls`, `mutual_tls` and `sasl` are the ports of its listeners with TLS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tls, self.mutual_tls, self.sasl = free_ports(3)
        self.authority = Authority(folder / "authority")
        broker = self.authority.issue("broker", "IP:127.0.0.1")
        store = folder / "broker.pem"
        store.write_text(broker.key.read_text() + broker.file.read_text())
        users = " ".join(f'user_{user}="{PASSWORD}"' for user in (ADMIN, *USERS))
        listeners = {"TLS": (self.tls, "SSL"), "MUTUAL": (self.mutual_tls, "SSL"), "SASL": (self.sasl, "SASL_SSL")}
        scram = {
            f"listener.name.sasl.scram-sha-{bits}.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;"
            for bits in (256, 512)
        }
        self.properties |= {
            "listeners": ",".join(
                [self.properties["listeners"], *(f"{name}://127.0.0.1:{port}" for name, (port, _) in listeners.items())]
            ),
            "listener.security.protocol.map": ",".join(
                [
                    self.properties["listener.security.protocol.map"],
                    *(f"{name}:{protocol}" for name, (_, protocol) in listeners.items()),
                ]
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": store,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.file,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl.plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required {users};",
            **scram,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{ADMIN};User:CN=client",
            "auto.create.topics.enable": "false",
        }

    def start(self, *, wait: bool = True) -> None:
        """See KafkaServer.start. The administrator can also come by SCRAM."""
        super().start(wait=wait)
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "logger": discard, "log_level": 0})
        self.set_password(ADMIN, PASSWORD)

    def set_password(self, user: str, password: str) -> None:
        """Let a user come by SCRAM with this password."""
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            credential = UserScramCredentialUpsertion(
                user, ScramCredentialInfo(mechanism, 4096), password.encode(), b"salt-salt"
            )
            _done(self.admin.alter_user_scram_credentials([credential]))

    def url_of(self, port: int) -> str:
        """The URL of the log at a listener."""
        return f"kafka://127.0.0.1:{port}"

    def grant(self, user: str, resource: str, name: str, *operations: str, prefixed: bool = False) -> None:
        """Let a user do these things (`READ`, …) with a `TOPIC`, a `GROUP` or the `BROKER`."""
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        bindings = [
            AclBinding(
                ResourceType[resource],
                name,
                pattern,
                f"User:{user}",
                "*",
                AclOperation[operation],
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        _done(self.admin.create_acls(bindings))

    def by_sasl(self, user: str, *, mechanism: str = "PLAIN", password: str = PASSWORD) -> dict[str, str]:
        """The settings of who comes by SASL."""
        return {
            "log": self.url_of(self.sasl),
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ssl_cafile": str(self.authority.file),
            "kafka_sasl_mechanism": mechanism,
            "kafka_sasl_username": user,
            "kafka_sasl_password": password,
        }


def _done(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result()
