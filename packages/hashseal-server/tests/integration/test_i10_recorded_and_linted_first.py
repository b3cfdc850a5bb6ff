"""I10: what the authority is about to sign is recorded first, and passes the linter first."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import text

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import LintFailed, StorageUnavailable
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.pki.lint import PkixLinter
from hashseal_server.pki.model import LegalPerson
from hashseal_server.pki.store import PkiStore

SUBJECT = LegalPerson("Recorded Seal", "Test Organisation", "NTRCH-1", "CH")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The order of things: records (when they are durable), linter, signature."""
    seen: list[str] = []

    def after(cls, name: str, word: str) -> None:
        real = getattr(cls, name)

        if asyncio.iscoroutinefunction(real):

            async def record(*args):
                result = await real(*args)
                seen.append(word)
                return result

        else:

            def record(*args):
                result = real(*args)
                seen.append(word)
                return result

        monkeypatch.setattr(cls, name, record)

    after(PkiStore, "plan", "recorded")
    after(PkiStore, "plan_list", "recorded")
    after(PkixLinter, "certificate", "linted")
    after(PkixLinter, "crl", "linted")
    after(SoftwareKeyStore, "sign", "signed")
    return seen


async def have_signed(authority, serial: int, *, certificate: bool) -> None:
    """Let the authority sign a certificate, or a list that names this serial number."""
    if certificate:
        await authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
    else:
        await authority.revoke(serial, "superseded", at=datetime.now(UTC))


def test_the_order_for_certificates_and_lists(service, events: list[str]) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        events.clear()
        made = await authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
        assert events == ["recorded", "linted", "signed"]
        events.clear()
        await authority.revoke(made.serial, "superseded", at=made.not_after)
        assert events == ["linted", "recorded", "signed"]

    service(scenario)


def test_the_record_of_a_list_names_what_was_signed(service) -> None:

    async def scenario(api) -> None:
        await (await api.operator.seals()).revoke(api.account, api.seal, "superseded")
        crl = x509.load_der_x509_crl(await api.operator.authority.crl("issuing"))
        digest = hashes.Hash(hashes.SHA256())
        digest.update(crl.tbs_certlist_bytes)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        async with api.operator.database.read() as connection:
            rows = await connection.execute(
                text(
                    "SELECT content FROM audit_record WHERE event = 'revocation-list.planned'"
                    " ORDER BY id DESC LIMIT 1"
                )
            )
            recorded = json.loads(rows.scalar_one())
        assert recorded == {
            "issuer": "issuing", "number": number, "sha256": digest.finalize().hex(),
        }  # fmt: skip

    service(scenario)


@pytest.mark.parametrize("what", ["certificate", "crl"])
def test_nothing_is_signed_that_the_linter_refuses(
    service, events: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_):
        raise LintFailed("refused by the test")

    async def scenario(api) -> None:
        authority = api.operator.authority
        serial = (await (await api.operator.seals()).all(api.account))[0].serial
        before = await authority.crl("issuing")
        monkeypatch.setattr(PkixLinter, what, refuse)
        events.clear()
        with pytest.raises(LintFailed):
            await have_signed(authority, serial, certificate=what == "certificate")
        assert "signed" not in events
        assert await authority.crl("issuing") == before

    service(scenario)


@pytest.mark.parametrize("what", ["plan", "plan_list"])
def test_nothing_is_signed_that_cannot_be_recorded(
    service, events: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:

    async def scenario(api) -> None:
        authority = api.operator.authority
        serial = (await (await api.operator.seals()).all(api.account))[0].serial

        async def fail(*_):
            raise StorageUnavailable("refused by the test")

        monkeypatch.setattr(PkiStore, what, fail)
        events.clear()
        with pytest.raises(StorageUnavailable):
            await have_signed(authority, serial, certificate=what == "plan")
        assert "signed" not in events

    service(scenario)
