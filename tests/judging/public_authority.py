"""A public CA that knows nothing of Hashseal: `openssl ca`, `openssl ocsp`, `openssl ts`, loopback.

Root → issuing authority → {what customers send in, OCSP responder, TSA}. The root speaks for itself
in OCSP, the issuing authority through its responder. Everything is served from one port, whose
number stands in the certificates; what is asked is counted by path.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT, ISSUING = "root", "issuing"
SUBJECTS = {
    ROOT: "/C=DE/O={title} Trust/CN={title} Root",
    ISSUING: "/C=DE/O={title} Trust/CN={title} CA",
}
TYPES = {
    "ocsp": "application/ocsp-response",
    "crl": "application/pkix-crl",
    "tsa": "application/timestamp-reply",
}
POLICY = "1.3.6.1.4.1.32473.7.1"
LEAF = (
    "basicConstraints = critical, CA:false",
    "keyUsage = critical, digitalSignature, nonRepudiation",
    "extendedKeyUsage = 1.3.6.1.5.5.7.3.36",
    "subjectKeyIdentifier = hash",
    "authorityKeyIdentifier = keyid",
)
"""Extensions of a certificate for signing documents; addresses are added."""
CROSS = (
    "basicConstraints = critical, CA:true",
    "keyUsage = critical, keyCertSign, cRLSign",
    "subjectKeyIdentifier = hash",
    "authorityKeyIdentifier = keyid",
)
"""Those of a certificate for the key of another authority's root."""
_CONFIG = """
[ca]
default_ca = this
[this]
dir = {folder}
new_certs_dir = {folder}/new
database = {folder}/index.txt
serial = {folder}/serial
crlnumber = {folder}/crlnumber
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_crl_days = 7
crl_extensions = crl
policy = anything
unique_subject = no
email_in_dn = no
copy_extensions = none
[anything]
countryName = optional
organizationName = optional
organizationIdentifier = optional
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[req]
distinguished_name = nothing
[nothing]
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
authorityInfoAccess = OCSP;URI:{base}/ocsp/root
crlDistributionPoints = URI:{base}/crl/root
[responder]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = OCSPSigning
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
noCheck = ignored
[tsa]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
authorityInfoAccess = OCSP;URI:{base}/ocsp/issuing
crlDistributionPoints = URI:{base}/crl/issuing
[stamping]
default_tsa = stamp
[stamp]
dir = {folder}
serial = {folder}/tsa-serial
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = {policy}
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass
class PublicAuthority:
    """The authority in a folder of its own, with its server; `asked` counts requests by path.

    `away` makes every request fail; `ocsp_away` those for OCSP alone. `ago` in days is how long ago
    responses and lists were made, each good for `good_for` days; `ahead` in seconds is how much later
    it is there. `nocheck` False makes responders
    that somebody must vouch for. `changed` changes what is sent, by path. Its own certificates last
    `lasts` days. Names begin with `title`.
    """

    folder: Path
    title: str = "Public"
    key_kind: tuple[str, ...] = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    nocheck: bool = True
    away: bool = False
    ocsp_away: bool = False
    ago: int = 0
    ahead: int = 0
    good_for: int = 1
    lasts: int = 365
    asked: Counter[str] = field(default_factory=Counter)
    changed: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["content-length"])))

            def _answer(self, body: bytes) -> None:
                authority.asked[self.path] += 1
                try:
                    content = authority.answer(self.path, body)
                except ConnectionError:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("content-type", TYPES[self.path.split("/")[1]])
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._one = threading.Lock()
        for label in (ROOT, ISSUING):
            self._prepare(label)
        self._found()
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def root_pem(self) -> Path:
        return self.folder / ROOT / "ca.pem"

    @property
    def issuing_pem(self) -> Path:
        return self.folder / ISSUING / "ca.pem"

    @property
    def chain(self) -> tuple[Path, Path]:
        """What a customer gets beside the certificate."""
        return self.issuing_pem, self.root_pem

    def addresses(self, label: str = ISSUING) -> tuple[str, ...]:
        """Lines for the extensions of a certificate that `label` issues."""
        return (
            f"authorityInfoAccess = OCSP;URI:{self.base}/ocsp/{label}",
            f"crlDistributionPoints = URI:{self.base}/crl/{label}",
        )

    def sign(
        self,
        request: Path,
        *,
        label: str = ISSUING,
        extensions: tuple[str, ...] = LEAF,
        addresses: bool = True,
        serial: int | None = None,
        days: int = 365,
        digest: str = "sha256",
    ) -> Path:
        """Issue a certificate (PEM) for a request, as whoever approves it at the CA would."""
        lines = (*extensions, *(self.addresses(label) if addresses else ()))
        path = self.folder / f"extensions-{secrets.token_hex(4)}"
        path.write_text("\n".join(lines) + "\n")
        return self._sign(label, request, ("-extfile", path), serial, days, digest)

    def vouch_for(self, other: PublicAuthority) -> Path:
        """A cross certificate (PEM): this root's, for the key and name of the other root."""
        return self.sign(other.folder / ROOT / "ca.csr", label=ROOT, extensions=CROSS)

    def revoke(
        self, certificate: Path, *, label: str = ISSUING, reason: str = "keyCompromise"
    ) -> None:
        """Revoke, and publish a new list."""
        with self._one:
            self._ca(label, "-revoke", certificate, "-crl_reason", reason)

    def answer(self, path: str, body: bytes) -> bytes:
        """What the server sends.

        Raises:
            ConnectionError: the authority is away.
        """
        if self.away or (self.ocsp_away and path.startswith("/ocsp/")):
            raise ConnectionError
        _, service, label = path.split("/")
        made = {"ocsp": self._ocsp, "crl": self._list, "tsa": self._stamp}[service]
        with self._one:
            content = made(label, body)
        return self.changed.get(path, bytes)(content)

    @contextmanager
    def _file(self, content: bytes = b"") -> Iterator[Path]:
        path = self.folder / f"message-{secrets.token_hex(8)}"
        path.write_bytes(content)
        try:
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _ocsp(self, label: str, request: bytes) -> bytes:
        folder = self.folder / label
        signer = "ca" if label == ROOT else "responder"
        with self._file(request) as asked, self._file() as given:
            self._run(
                *self._then(),
                *("openssl", "ocsp", "-index", folder / "index.txt", "-CA", folder / "ca.pem"),
                *("-rsigner", folder / f"{signer}.pem", "-rkey", folder / f"{signer}.key"),
                *("-rmd", "sha256", "-ndays", self.good_for, "-reqin", asked, "-respout", given),
            )
            return given.read_bytes()

    def _list(self, label: str, _body: bytes) -> bytes:
        with self._file() as given, self._file() as encoded:
            self._run(
                *self._then(),
                *("openssl", "ca", "-config", self.folder / label / "openssl.cnf"),
                *("-gencrl", "-crldays", self.good_for, "-out", given),
            )
            self._run("openssl", "crl", "-in", given, "-outform", "DER", "-out", encoded)
            return encoded.read_bytes()

    def _stamp(self, label: str, query: bytes) -> bytes:
        with self._file(query) as asked, self._file() as given:
            self._run(
                *("openssl", "ts", "-reply", "-config", self.folder / label / "openssl.cnf"),
                *("-section", "stamp", "-queryfile", asked, "-out", given),
            )
            return given.read_bytes()

    def _then(self) -> tuple[str, ...]:
        if self.ahead:
            return "faketime", "-f", f"+{self.ahead}s"
        return ("faketime", f"{self.ago} days ago") if self.ago else ()

    def _prepare(self, label: str) -> None:
        folder = self.folder / label
        (folder / "new").mkdir(parents=True)
        (folder / "index.txt").write_text("")
        (folder / "crlnumber").write_text("1000\n")
        (folder / "tsa-serial").write_text("01\n")
        config = _CONFIG.format(folder=folder, base=self.base, policy=POLICY)
        nocheck = "noCheck = ignored" if self.nocheck else ""
        (folder / "openssl.cnf").write_text(config.replace("noCheck = ignored", nocheck))

    def _found(self) -> None:
        root, issuing = self.folder / ROOT, self.folder / ISSUING
        request = self._request(root, "ca", SUBJECTS[ROOT].format(title=self.title))
        self._sign(
            ROOT,
            request,
            ("-selfsign", "-extensions", "root"),
            days=self.lasts,
            out=root / "ca.pem",
        )
        request = self._request(issuing, "ca", SUBJECTS[ISSUING].format(title=self.title))
        self._sign(
            ROOT, request, ("-extensions", "issuing"), days=self.lasts, out=issuing / "ca.pem"
        )
        for name, kind in (("responder", "OCSP"), ("tsa", "TSA")):
            subject = f"/C=DE/O={self.title} Trust/CN={self.title} {kind}"
            request = self._request(issuing, name, subject)
            extensions = ("-extensions", name)
            self._sign(ISSUING, request, extensions, days=self.lasts, out=issuing / f"{name}.pem")

    def _request(self, folder: Path, name: str, subject: str) -> Path:
        key, request = folder / f"{name}.key", folder / f"{name}.csr"
        self._run("openssl", "genpkey", *self.key_kind, "-out", key)
        self._run(
            *("openssl", "req", "-new", "-config", folder / "openssl.cnf", "-key", key),
            *("-subj", subject, "-out", request),
        )
        return request

    def _sign(
        self,
        label: str,
        request: Path,
        options: tuple[str | Path, ...],
        serial: int | None = None,
        days: int = 365,
        digest: str = "sha256",
        *,
        out: Path | None = None,
    ) -> Path:
        """`openssl ca`; valid since a week, so that what was made days ago was made in time."""
        out = out or self.folder / f"certificate-{secrets.token_hex(4)}.pem"
        number = format(serial if serial is not None else secrets.randbits(120) | 1 << 120, "x")
        (self.folder / label / "serial").write_text("0" * (len(number) % 2) + number + "\n")
        with self._one:
            self._ca(
                *(label, "-in", request, "-out", out, "-notext", "-md", digest, *options),
                *("-startdate", self._date(-7), "-enddate", self._date(days)),
            )
        return out

    def _date(self, days: int) -> str:
        return self._run("date", "-u", "-d", f"{days} days", "+%Y%m%d%H%M%SZ").strip()

    def _ca(self, label: str, *words: object) -> None:
        config = self.folder / label / "openssl.cnf"
        self._run("openssl", "ca", "-batch", "-config", config, *words)

    def _run(self, *words: object) -> str:
        done = subprocess.run(
            [str(word) for word in words], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        return done.stdout
