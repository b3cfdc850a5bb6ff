"""A ceremony with the root's key: what is done in it, in order, and a record of it to sign.

Every step is written down with its time before the next begins. The record says who was there, what
was signed, and the SHA-256 of everything that came in or went out; people compare fingerprints as
words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from textwrap import wrap

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hashseal_core.errors import InvalidValue
from hashseal_server.pki.authorities import ROOT
from hashseal_server.pki.fingerprint import agree, sha256_of, words_of
from hashseal_server.pki.model import Issued
from hashseal_server.pki.request import read_request
from hashseal_server.pki.service import CertificateAuthority, authority_name

LEAST_PEOPLE = 2
_WIDTH = 88
_RULE = "-" * _WIDTH


@dataclass(frozen=True, slots=True)
class Step:
    """What was done at a time."""

    at: str
    what: str
    details: Mapping[str, str]


@dataclass(slots=True)
class Record:
    """A ceremony's record; times are UTC."""

    people: Sequence[str]
    machine: Mapping[str, str]
    begun_at: str
    steps: list[Step] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    ended_at: str = ""

    def as_json(self) -> bytes:
        """For machines."""
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    def as_text(self) -> bytes:
        """To print and sign."""
        lines = ["RECORD OF A CEREMONY WITH THE KEY OF THE ROOT", "", f"Begun  {self.begun_at}"]
        lines += [f"Ended  {self.ended_at}", "", "Present"]
        lines += [f"  {number}. {one}" for number, one in enumerate(self.people, 1)]
        lines += ["", "Machine", *_pairs(self.machine), "", "Steps"]
        for number, step in enumerate(self.steps, 1):
            lines += [_RULE, f"{number}. {step.at}  {step.what}", *_pairs(step.details)]
        lines += [_RULE, "", "Files, SHA-256", *_pairs(self.files), ""]
        lines += ["We were there, and what is written above is what was done.", ""]
        for one in self.people:
            lines += ["", f"{one}", f"{'_' * 40}   date ______________"]
        return "\n".join(lines).encode() + b"\n"


class Ceremony:
    """One ceremony; `authority` has the root's key, and no issuing authority's.

    Raises:
        InvalidValue: too few people are there.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        *,
        people: Sequence[str],
        machine: Mapping[str, str],
        now: Callable[[], datetime],
    ) -> None:
        named = [" ".join(one.split()) for one in people]
        if len({one for one in named if one}) < LEAST_PEOPLE or not all(
            one.isprintable() for one in named
        ):
            raise InvalidValue("name two people or more who are present", field="present")
        self._authority = authority
        self._now = now
        self.record = Record(named, machine, _moment(now()))
        self.results: dict[str, bytes] = {}

    async def root(self, *, organisation: str, country: str, test: bool) -> Issued:
        """The root: made if there is none, shown if there is.

        Raises:
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: there is none.
        """
        known = (await self._authority.authorities.all(fresh=True)).get(ROOT)
        if known is None:
            mark = " TEST" if test else ""
            subject = authority_name(organisation, f"Hashseal{mark} Root CA", country)
            issued = await self._authority.found_root(subject)
            self._step("The root's key and its certificate were made", _described(issued))
        else:
            issued = known.issued
            self._step("The root was there already", _described(issued))
        self.results["root.cer"] = issued.certificate
        return issued

    async def revoke(self, serial: int, reason: str) -> None:
        """Revoke an issuing authority's certificate.

        Raises:
            InvalidValue, NotFound: it is not one of this root, or revoked already.
        """
        await self._authority.revoke(serial, reason, at=self._now())
        details = {"serial number": format(serial, "x"), "reason": reason}
        self._step("A certificate was revoked for good", details)

    async def certify(self, request: bytes, said: str) -> Issued:
        """Certify the key of a request, after what was `said` of it is its fingerprint.

        Raises:
            InvalidValue: the fingerprint is another, the key was certified before, or the request
                asks for what is not given.
            InputUnreadable: it is not a request.
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: nothing issued.
        """
        top = await self._authority.authorities.get(ROOT)
        asked = read_request(request, top.certificate.subject)
        encoded = as_der(request)
        if not agree(encoded, said):
            raise InvalidValue(
                "the fingerprint is not that of the request: somebody changed it, or it is another",
                field="fingerprint",
            )
        for label, one in (await self._authority.authorities.all(fresh=True)).items():
            if _spki(one.certificate) == asked.public_key:
                raise InvalidValue(f"the key is that of `{label}` already", field="request")
        self._step(
            "The request was checked",
            {
                "result": "signed with its own key; its fingerprint is the one that was read out",
                "subject": asked.subject.rfc4514_string(),
                "SHA-256 of the request": sha256_of(encoded),
                "in words": words_of(encoded),
            },
        )
        issued = await self._authority.certify_issuing(asked.subject, asked.public_key)
        self._step("The issuing authority was certified", _described(issued))
        self.results[f"{issued.label}.cer"] = issued.certificate
        return issued

    async def publish(self) -> bytes:
        """The root's next revocation list, DER.

        Raises:
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: there is none.
        """
        encoded = await self._authority.publish(ROOT)
        read = x509.load_der_x509_crl(encoded)
        number = read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        self._step(
            "The root's revocation list was made",
            {
                "number": str(number),
                "revoked certificates": str(len(read)),
                "next list before": _moment(read.next_update_utc or self._now()),
                "SHA-256": sha256_of(encoded),
            },
        )
        self.results["root.crl"] = encoded
        return encoded

    def end(self) -> Mapping[str, bytes]:
        """All files of the ceremony by name, the record last."""
        self.record.ended_at = _moment(self._now())
        self.record.files = {name: sha256_of(one) for name, one in self.results.items()}
        return {
            **self.results,
            "ceremony.json": self.record.as_json(),
            "ceremony.txt": self.record.as_text(),
        }

    def abort(self, why: str) -> Mapping[str, bytes]:
        """The record alone, of a ceremony that could not go on; nothing of it is to be used."""
        self._step("The ceremony was broken off; what it made is not to be used", {"reason": why})
        self.results.clear()
        return self.end()

    def _step(self, what: str, details: Mapping[str, str]) -> None:
        self.record.steps.append(Step(_moment(self._now()), what, details))


def as_der(request: bytes) -> bytes:
    """A request in PEM or DER as DER: the fingerprint is over that."""
    if request.lstrip().startswith(b"-----BEGIN"):
        return x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)
    return request


def _described(issued: Issued) -> dict[str, str]:
    certificate = x509.load_der_x509_certificate(issued.certificate)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "serial number": format(certificate.serial_number, "x"),
        "valid": f"{_moment(certificate.not_valid_before_utc)} to "
        f"{_moment(certificate.not_valid_after_utc)}",
        "SHA-256": sha256_of(issued.certificate),
        "in words": words_of(issued.certificate),
    }


def _spki(certificate: x509.Certificate) -> bytes:
    from_key = certificate.public_key()
    return from_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _pairs(pairs: Mapping[str, str]) -> list[str]:
    lines = []
    for name, value in pairs.items():
        first, *more = wrap(value, _WIDTH - 28) or [""]
        lines += [f"   {name:<24} {first}", *(f"{'':28} {line}" for line in more)]
    return lines
