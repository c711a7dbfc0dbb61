"""Certificates for tests, made by the machine's openssl and signed by an authority that nobody else trusts."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .requirements import require_program

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_LEAF = """\
subjectAltName = {names}
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Certificate:
    """The PEM files of a certificate and its key."""

    file: Path
    key: Path

    def server(self, *, clients_of: Path | None = None) -> ssl.SSLContext:
        """For a server to show; `clients_of` is the authority whose clients alone may come in."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients_of)
        context.load_cert_chain(self.file, self.key)
        if clients_of:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """A certificate authority, with its files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._openssl = require_program("openssl", "openssl")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "authority.pem"
        self._key = folder / "authority.key"
        made = ("-keyout", self._key, "-out", self.file, "-days", "2", "-subj", "/CN=Test")
        self._run("req", "-x509", *_KEY, *made, "-addext", "keyUsage = critical, keyCertSign, cRLSign")

    def issue(self, name: str, *names: str, days: int = 2) -> Certificate:
        """A certificate for `DNS:…` and `IP:…` names, under a file name; with -1 for `days` it has expired."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(_LEAF.format(names=", ".join(names)))
        self._run("req", "-new", *_KEY, "-keyout", made.key, "-out", request, "-subj", f"/CN={name}")
        signed = ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-days", str(days))
        self._run("x509", "-req", "-in", request, "-extfile", extensions, "-out", made.file, *signed)
        return made

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)
