"""What a signer refuses, without sockets and tokens: only its rules."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from subjects import certificate_for
from unreliable_keys import UnreliableKeys

from hashseal_core import cms, der, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import (
    ConfigurationInvalid,
    FaultySignature,
    KeystoreRefused,
    KeystoreUnavailable,
)
from hashseal_server.keystore.authorisation import Authorisation, Authoriser, Grant, Kind, Register
from hashseal_server.keystore.encoding import request_info
from hashseal_server.keystore.messages import (
    HEAD,
    MAX_FRAME,
    Answer,
    Destroy,
    Done,
    Failed,
    Generate,
    Health,
    Hello,
    Key,
    PublicKey,
    Request,
    SignDated,
    SignDigests,
    SignDocuments,
    SignRequest,
    SignStructure,
    SignTimestamp,
    Values,
    frame,
    read_answer,
    read_hello,
    read_request,
    size_of,
)
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.signer import Signer

SECRET, BOOT = b"s" * 32, b"b" * 32
ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
NOW = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


def digest(words: str) -> Digest:
    return Digest(DigestAlgorithm.SHA256, hashlib.sha256(words.encode()).digest())


class Desk:
    """A signer with one seal key of account `acme`, and a clock that a test sets."""

    def __init__(self, folder: Path) -> None:
        self.at = NOW
        self.keys = UnreliableKeys(folder)
        self.register = Register(SECRET, BOOT)
        self.signer = Signer(self.keys, self.register, boot=BOOT, now=lambda: self.at)
        self.key, self.spki = self.keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "acme")
        self.certificate = certificate_for(self.spki)

    def ask(self, request: Request) -> Answer:
        framed = self.signer.answer(frame(request)[HEAD:])
        assert size_of(framed[:HEAD]) == len(framed) - HEAD
        return msgspec.msgpack.decode(framed[HEAD:], type=Answer)

    def authorise(
        self, *digests: Digest, secret: bytes = SECRET, **changes: object
    ) -> Authorisation:
        asked = {
            "boot": BOOT,
            "account": "acme",
            "key": self.key,
            "certificate": self.certificate,
            "algorithm": ECDSA,
            "digests": digests or (digest("one"),),
            "now": self.at,
            **changes,
        }
        return Authoriser(secret).authorise(**asked)  # type: ignore[arg-type]

    def sign(self, authorisation: Authorisation, certificate: bytes | None = None) -> Answer:
        return self.ask(SignDocuments(authorisation, certificate or self.certificate))

    def refused(self, answer: Answer, because: str) -> None:
        assert isinstance(answer, Failed), answer
        assert answer.code == "keystore-refused"
        assert because in answer.detail
        assert self.keys.signatures == 0


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "keys")


def test_what_is_signed_are_attributes_that_the_signer_built(desk: Desk) -> None:
    digests = [digest("one"), digest("two")]
    answer = desk.sign(desk.authorise(*digests))
    assert isinstance(answer, Values)
    for one, value in zip(digests, answer.values, strict=True):
        attributes = cms.signed_attributes(one, desk.certificate)
        cms.verify_signature_value(desk.certificate, ECDSA, attributes, value)


def altered(authorisation: Authorisation, **changes: object) -> Authorisation:
    """Another grant under the same MAC."""
    grant = msgspec.structs.replace(
        msgspec.msgpack.decode(authorisation.grant, type=Grant), **changes
    )
    return Authorisation(msgspec.msgpack.encode(grant), authorisation.mac)


def test_a_grant_that_was_changed_is_not_genuine(desk: Desk) -> None:
    other, _ = desk.keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "acme")
    for changes in (
        {"hashes": (digest("another").value,)},
        {"hashes": (digest("one").value, digest("two").value)},
        {"key": other},
        {"account": "evil"},
        {"certificate": hashlib.sha256(b"another").digest()},
        {"scheme": SignatureScheme.RSA_PSS},
        {"salt": 20},
        {"digest": DigestAlgorithm.SHA384},
        {"expires_at": 1 << 50},
        {"nonce": secrets.token_bytes(32)},
    ):
        desk.refused(desk.sign(altered(desk.authorise(), **changes)), "not genuine")
    genuine = desk.authorise()
    for mac in (bytes(32), secrets.token_bytes(32), genuine.mac[::-1]):
        desk.refused(desk.sign(Authorisation(genuine.grant, mac)), "not genuine")
    desk.refused(desk.sign(desk.authorise(secret=b"x" * 32)), "not genuine")
    assert isinstance(desk.sign(genuine), Values)


def test_a_grant_is_for_one_signer_one_certificate_and_a_short_while(desk: Desk) -> None:
    desk.refused(desk.sign(desk.authorise(boot=b"x" * 32)), "another signer")
    other = certificate_for(desk.spki, "Another Name")
    desk.refused(desk.sign(desk.authorise(), other), "another certificate")
    early = desk.authorise(now=NOW + timedelta(minutes=10))
    desk.refused(desk.sign(early), "too long")
    late = desk.authorise()
    desk.at = NOW + timedelta(seconds=31)
    desk.refused(desk.sign(late), "is over")


def test_a_grant_is_taken_once_whatever_came_of_it(desk: Desk) -> None:
    granted = desk.authorise()
    assert isinstance(desk.sign(granted), Values)
    desk.keys.signatures = 0
    for _ in range(1000):
        desk.refused(desk.sign(granted), "taken before")
    wasted = desk.authorise(account="evil")
    desk.refused(desk.sign(wasted), "another account")
    desk.refused(desk.sign(wasted), "taken before")


def test_a_clock_that_is_set_back_makes_no_old_grant_good_again(desk: Desk) -> None:
    old = desk.authorise()
    assert isinstance(desk.sign(old), Values)
    desk.keys.signatures = 0
    desk.at = NOW + timedelta(minutes=1)
    assert isinstance(desk.ask(SignDocuments(desk.authorise(), desk.certificate)), Values)
    desk.keys.signatures = 0
    desk.at = NOW
    desk.refused(desk.sign(old), "is over")


def test_nothing_is_forgotten_before_its_time() -> None:
    register = Register(SECRET, BOOT, remembered=3)
    authoriser = Authoriser(SECRET)

    def grant(now: datetime) -> Authorisation:
        return authoriser.authorise(
            boot=BOOT, account="a", key="k", certificate=b"c", algorithm=ECDSA,
            digests=[digest("x")], now=now,
        )  # fmt: skip

    for _ in range(3):
        register.take(grant(NOW), b"c", NOW)
    with pytest.raises(KeystoreUnavailable, match="too many"):
        register.take(grant(NOW), b"c", NOW)
    later = NOW + timedelta(seconds=31)
    register.take(grant(later), b"c", later)
    for short in (b"", b"x" * 31):
        with pytest.raises(ConfigurationInvalid):
            Authoriser(short)
        with pytest.raises(ConfigurationInvalid):
            Register(short, BOOT)


def test_key_account_and_certificate_go_together(desk: Desk) -> None:
    theirs, spki = desk.keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "other")
    certificate = certificate_for(spki)
    desk.refused(desk.sign(desk.authorise(key=theirs)), "another account")
    desk.refused(
        desk.sign(desk.authorise(certificate=certificate), certificate), "not that of the key"
    )
    authority, spki = desk.keys.generate(Purpose.CA, KeyAlgorithm.P256, "acme")
    certificate = certificate_for(spki)
    granted = desk.authorise(key=authority, certificate=certificate)
    desk.refused(desk.sign(granted, certificate), "another purpose")
    desk.refused(desk.sign(desk.authorise(key="seal." + "0" * 32)), "no such key")
    desk.refused(desk.sign(desk.authorise(key="../../etc/passwd")), "no such key")
    garbage = b"\x30" * 200
    desk.refused(desk.sign(desk.authorise(certificate=garbage), garbage), "not a certificate")


def test_an_authorisation_binds_the_salt(desk: Desk) -> None:
    salted = SignatureAlgorithm(SignatureScheme.RSA_PSS, DigestAlgorithm.SHA256, 20)
    key, spki = desk.keys.generate(Purpose.SEAL, KeyAlgorithm.RSA2048, "acme")
    certificate = certificate_for(spki)
    asked = {"key": key, "certificate": certificate, "algorithm": salted}
    for salt in (None, 0, 21, 32):
        swapped = altered(desk.authorise(**asked), salt=salt)
        desk.refused(desk.sign(swapped, certificate), "not genuine")
    answer = desk.sign(desk.authorise(**asked), certificate)
    assert isinstance(answer, Values)
    attributes = cms.signed_attributes(digest("one"), certificate)
    cms.verify_signature_value(certificate, salted, attributes, answer.values[0])
    other = SignatureAlgorithm(SignatureScheme.RSA_PSS, DigestAlgorithm.SHA256)
    with pytest.raises(FaultySignature):
        cms.verify_signature_value(certificate, other, attributes, answer.values[0])


def test_a_salt_that_no_scheme_or_key_has_is_refused(desk: Desk) -> None:
    genuine = msgspec.msgpack.decode(desk.authorise().grant, type=Grant)
    for salt, because in ((20, "only RSA-PSS"), (-1, "this version"), (513, "this version")):
        grant = msgspec.msgpack.encode(
            msgspec.structs.replace(genuine, salt=salt, nonce=secrets.token_bytes(32))
        )
        mac = hmac.digest(SECRET, b"hashseal authorisation 1\n" + grant, "sha256")
        desk.refused(desk.sign(Authorisation(grant, mac)), because)
    pss = (SignatureScheme.RSA_PSS, DigestAlgorithm.SHA256)
    with pytest.raises(KeystoreRefused):
        read_request(frame(SignStructure("ca." + "0" * 32, b"x", *pss, -1))[HEAD:])


def test_requests_without_a_salt_are_read_as_before() -> None:
    """Those of a caller that does not know of salts end with the digest."""
    asked = SignStructure("ca." + "0" * 32, b"x", *ECDSA_PARTS)
    shorter = msgspec.msgpack.encode(msgspec.to_builtins(asked, builtin_types=(bytes,))[:-1])
    assert read_request(shorter) == asked


class RawDesk(Desk):
    """The same with a raw key of the account."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seal_key, self.seal_certificate = self.key, self.certificate
        self.key, self.spki = self.keys.generate(Purpose.RAW, KeyAlgorithm.P256, "acme")
        self.certificate = certificate_for(self.spki)


def test_a_raw_key_signs_digests_under_its_own_kind_of_authorisation(tmp_path: Path) -> None:
    desk = RawDesk(tmp_path / "keys")
    digests = [digest("one"), digest("two")]
    answer = desk.ask(SignDigests(desk.authorise(*digests, kind=Kind.RAW), desk.certificate))
    assert isinstance(answer, Values)
    for one, value in zip(digests, answer.values, strict=True):
        cms.verify_digest_value(desk.certificate, ECDSA, one, value)


def test_raw_and_documents_are_never_taken_for_each_other(tmp_path: Path) -> None:
    desk = RawDesk(tmp_path / "keys")
    certificate = desk.certificate
    # An authorisation of one kind is not genuine for another.
    for kind, request in (
        (Kind.DOCUMENTS, SignDigests),
        (Kind.DATED, SignDigests),
        (Kind.RAW, SignDocuments),
        (Kind.RAW, SignDated),
        (Kind.DOCUMENTS, SignDated),
        (Kind.DATED, SignDocuments),
    ):
        granted = desk.authorise(kind=kind, signing_time=NOW if kind is Kind.DATED else None)
        desk.refused(desk.ask(request(granted, certificate)), "not genuine")
    # Nor does a genuine one of the right kind let a key of the other purpose sign.
    seal = {"key": desk.seal_key, "certificate": desk.seal_certificate}
    raw = desk.authorise(kind=Kind.RAW, **seal)
    desk.refused(desk.ask(SignDigests(raw, desk.seal_certificate)), "another purpose")
    desk.refused(desk.sign(desk.authorise()), "another purpose")
    # Bound to account, certificate and signer, good once and for seconds, as the others.
    for changes, because in (
        ({"account": "evil"}, "another account"),
        ({"boot": b"x" * 32}, "another signer"),
        ({"now": NOW - timedelta(minutes=5)}, "over"),
        ({"certificate": desk.seal_certificate}, "another certificate"),
    ):
        granted = desk.authorise(kind=Kind.RAW, **changes)
        desk.refused(desk.ask(SignDigests(granted, certificate)), because)
    once = desk.authorise(kind=Kind.RAW)
    assert isinstance(desk.ask(SignDigests(once, certificate)), Values)
    again = desk.ask(SignDigests(once, certificate))
    assert isinstance(again, Failed)
    assert "taken before" in again.detail
    # Bytes that are handed in are signed by neither.
    desk.keys.signatures = 0
    structure = SignStructure(
        desk.key, b"hashseal audit checkpoint 1\n", ECDSA.scheme, ECDSA.digest
    )
    desk.refused(desk.ask(structure), "form")


def test_the_time_in_cades_is_the_authorised_one(desk: Desk) -> None:
    granted = desk.authorise(kind=Kind.DATED, signing_time=NOW)
    answer = desk.ask(SignDated(granted, desk.certificate))
    assert isinstance(answer, Values)
    attributes = cms.signed_attributes(digest("one"), desk.certificate, signing_time=NOW)
    cms.verify_signature_value(desk.certificate, ECDSA, attributes, answer.values[0])


def test_the_time_in_cades_is_that_of_the_signers_clock(desk: Desk) -> None:
    def ask(stated: datetime) -> Answer:
        granted = desk.authorise(kind=Kind.DATED, signing_time=stated)
        return desk.ask(SignDated(granted, desk.certificate))

    for away in (timedelta(seconds=-11), timedelta(seconds=11), timedelta(days=-365)):
        desk.refused(ask(NOW + away), "clock")
    for near in (timedelta(seconds=-10), timedelta(seconds=10)):
        assert isinstance(ask(NOW + near), Values)
    desk.keys.signatures = 0
    for signed_at in (1 << 62, -1):  # no time that there is
        genuine = msgspec.msgpack.decode(desk.authorise().grant, type=Grant)
        parts = [*msgspec.structs.astuple(genuine), signed_at]
        grant = msgspec.msgpack.encode(parts)
        mac = hmac.digest(SECRET, Kind.DATED.value + grant, "sha256")
        desk.refused(desk.ask(SignDated(Authorisation(grant, mac), desk.certificate)), "version")


def test_a_degenerate_digest_is_refused(desk: Desk) -> None:
    empty = msgspec.msgpack.encode(
        Grant(
            boot=BOOT, nonce=secrets.token_bytes(32),
            expires_at=int(NOW.timestamp() * 1000) + 1000, account="acme", key=desk.key,
            certificate=hashlib.sha256(desk.certificate).digest(),
            scheme=SignatureScheme.ECDSA, digest=DigestAlgorithm.SHA256,
            hashes=(hashlib.sha256(b"").digest(),),
        )
    )  # fmt: skip
    mac = hmac.digest(SECRET, b"hashseal authorisation 1\n" + empty, "sha256")
    desk.refused(desk.sign(Authorisation(empty, mac)), "empty string")


def tst_info(at: datetime) -> bytes:
    return tsp.tst_info(tsp.TokenContent("1.2.3", digest("sig"), 1 << 130, at, 1000))


def test_a_timestamp_states_the_time_of_the_signers_clock(desk: Desk) -> None:
    key, spki = desk.keys.generate(Purpose.TSU, KeyAlgorithm.P256, "")
    certificate = certificate_for(spki)

    def ask(info: bytes, name: str = key) -> Answer:
        return desk.ask(
            SignTimestamp(name, info, certificate, SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
        )

    for away in (timedelta(seconds=-11), timedelta(seconds=11), timedelta(days=365)):
        desk.refused(ask(tst_info(NOW + away)), "clock")
    attributes = cms.signed_attributes(digest("x"), certificate)
    for other in (b"", b"\x30\x00", attributes, tst_info(NOW) + b"\x00"):
        desk.refused(ask(other), "not a TSTInfo")
    desk.refused(ask(tst_info(NOW), desk.key), "another purpose")
    answer = ask(tst_info(NOW + timedelta(seconds=2)))
    assert isinstance(answer, Values)
    built = tsp.signed_attributes(
        tst_info(NOW + timedelta(seconds=2)), certificate, DigestAlgorithm.SHA256
    )
    cms.verify_signature_value(certificate, ECDSA, built, answer.values[0])


def test_a_request_for_a_certificate_is_built_around_the_key(desk: Desk) -> None:
    parts = (SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
    for subject in (
        b"",
        b"\x30\x00",
        b"\x30\x02\x31\x00",
        b"\x31\x00",
        b"\x30\x03\x02\x01\x00",
        cms.signed_attributes(digest("x"), desk.certificate),
        b"\x30\x00\x00",
    ):
        desk.refused(desk.ask(SignRequest(desk.key, subject, *parts)), "not a name")
    subject = x509.load_der_x509_certificate(desk.certificate).subject.public_bytes()
    answer = desk.ask(SignRequest(desk.key, subject, *parts))
    assert isinstance(answer, Values)
    info = request_info(subject, desk.spki)
    cms.verify_signature_value(desk.certificate, ECDSA, info, answer.values[0])
    signed = der.sequence(
        info,
        cms.signature_identifier(ECDSA),
        der.encode(der.BIT_STRING, b"\x00" + answer.values[0]),
    )
    assert x509.load_der_x509_csr(signed).is_signature_valid


def test_keys_are_made_named_and_destroyed(desk: Desk) -> None:
    made = desk.ask(Generate(Purpose.OCSP, KeyAlgorithm.P256, ""))
    assert isinstance(made, Key)
    assert desk.ask(PublicKey(made.reference)) == made
    assert desk.ask(Health()) == Done()
    assert desk.ask(Destroy(made.reference)) == Done()
    desk.refused(desk.ask(PublicKey(made.reference)), "no such key")


def test_a_signer_without_a_register_signs_no_documents(desk: Desk) -> None:
    desk.signer = Signer(desk.keys, None, boot=BOOT, now=lambda: NOW)
    desk.refused(desk.sign(desk.authorise()), "no documents")


@given(st.binary(max_size=200))
def test_whatever_comes_is_answered(octets: bytes) -> None:
    signer = Signer(UnreliableKeys(Path("/nonexistent")), None, boot=BOOT, now=lambda: NOW)
    answer = msgspec.msgpack.decode(signer.answer(octets)[HEAD:], type=Answer)
    assert isinstance(answer, Failed)


def test_frames_have_limits() -> None:
    for head in (b"\x00\x00\x00\x00", (MAX_FRAME + 1).to_bytes(HEAD, "big"), b"\xff" * HEAD):
        with pytest.raises(KeystoreUnavailable):
            size_of(head)
    with pytest.raises(KeystoreRefused, match="too long"):
        frame(SignStructure("ca." + "0" * 32, bytes(MAX_FRAME), *ECDSA_PARTS))
    with pytest.raises(KeystoreRefused):
        read_request(msgspec.msgpack.encode(["sign-anything", b""]))
    with pytest.raises(KeystoreRefused):
        read_request(msgspec.msgpack.encode(["health", "more"]))
    for nonsense in (b"", b"\xc1", msgspec.msgpack.encode(["values", "no"])):
        with pytest.raises(KeystoreUnavailable):
            read_answer(nonsense)
        with pytest.raises(KeystoreUnavailable):
            read_hello(nonsense)
    with pytest.raises(KeystoreUnavailable, match="version"):
        read_hello(frame(Hello(2, BOOT, ()))[HEAD:])
    with pytest.raises(KeystoreUnavailable, match="odd"):
        read_answer(frame(Failed("no-such-code", "odd"))[HEAD:])


ECDSA_PARTS = (SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
