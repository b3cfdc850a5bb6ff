"""The picture of a seal over the API: one per seal, the same for ever, named in what is signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cluster import OWNER
from sqlalchemy import make_url, text

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import CharacterUndrawable, ConfigurationInvalid, InvalidValue
from hashseal_server.infra.db import Database
from hashseal_server.main import now
from hashseal_server.pki.model import LegalPerson
from hashseal_server.seals.model import SealId

MARK = "GRINNING FACE"


async def run(api, statement: str) -> list[tuple[object, ...]]:
    """As the owner of the tables: the service's own role may change none of these rows."""
    url = api.operator.settings.database
    if url.startswith("postgresql"):
        url = make_url(url).set(username=OWNER).render_as_string(hide_password=False)
    owner = Database(url)
    try:
        async with owner.write() as connection:
            rows = await connection.execute(text(statement))
            return [tuple(row) for row in rows] if rows.returns_rows else []
    finally:
        await owner.close()


def test_one_picture_for_ever(service) -> None:
    async def scenario(api) -> None:
        path = f"/v1/seals/{api.seal}/appearance"
        shown = await api.get(path)
        digest = hashlib.sha256(shown.content).hexdigest()
        assert shown.status_code == 200
        assert shown.headers["content-type"] == "image/svg+xml"
        assert shown.headers["etag"] == f'"{digest}"'
        assert shown.headers["cache-control"] == "private, no-cache"
        assert shown.headers["content-security-policy"] == "default-src 'none'"
        assert b"Official seal: Test Organisation" in shown.content
        described = (await api.get(f"/v1/seals/{api.seal}")).json()
        assert described["appearance_digest"] == digest
        listed = (await api.get("/v1/seals")).json()["seals"]
        assert [one["appearance_digest"] for one in listed] == [digest]
        answer = await api.sign("a", key="first")
        assert answer.json()["seal"] == {"id": api.seal, "appearance_digest": digest}

        # Who has it already is not sent it again.
        allowed = {"authorization": f"Bearer {api.token}"}
        for known in (f'"{digest}"', f'W/"{digest}"', f'"other", "{digest}"', "*"):
            same = await api.http.get(path, headers={**allowed, "if-none-match": known})
            assert (same.status_code, same.content) == (304, b"")
            assert same.headers["etag"] == f'"{digest}"'
        other = await api.http.get(path, headers={**allowed, "if-none-match": '"other"'})
        assert other.content == shown.content
        assert (await api.http.get(path)).status_code == 401

        # A renewed seal keeps its picture.
        book = await api.operator.seals()
        renewed = await book.renew(api.account, api.seal, same_key=False)
        assert renewed.appearance_digest == digest
        assert (await api.get(path)).content == shown.content

        # A seal of before schema 0015 is drawn when it is first used, and then stays so.
        await run(api, "DELETE FROM seal_appearance")
        await run(api, "UPDATE signature SET appearance_digest = NULL")
        again = (await api.sign("a", key="first")).json()
        assert again == {**answer.json(), "seal": {"id": api.seal, "appearance_digest": None}}
        assert await run(api, "SELECT digest FROM seal_appearance") == [(digest,)]
        assert (await api.get(path)).content == shown.content
        assert (await api.sign("b")).json()["seal"]["appearance_digest"] == digest
        # The repeated answer is still that of before.
        assert (await api.sign("a", key="first")).json() == again

    service(scenario)


def test_what_cannot_be_drawn_is_not_made(service) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()

        async def create(name: str, **more: str) -> object:
            subject = LegalPerson("Seal", name, "NTRCH-2", "CH")
            return await book.create(
                api.account, subject, kind="contract", algorithm=KeyAlgorithm.P256, **more
            )

        before = await run(api, "SELECT count(*) FROM certificate")
        with pytest.raises(CharacterUndrawable, match=MARK):
            await create("Firma \N{GRINNING FACE}")
        with pytest.raises(CharacterUndrawable, match="ARABIC"):
            await create("Firma", address="شارع 5")
        for address in ("x" * 129, "two\nlines"):
            with pytest.raises(InvalidValue, match="address"):
                await create("Firma", address=address)
        assert await run(api, "SELECT count(*) FROM certificate") == before

        # One that was made before there were pictures signs, and says why it is not seen.
        issued = await api.operator.authority.issue_signing(
            LegalPerson("Seal", "شركة", "NTRCH-3", "CH"),
            algorithm=KeyAlgorithm.P256,
            account=api.account,
        )
        known = await book.find(api.account, api.seal)
        seal = replace(
            known,
            id=SealId("before"),
            key=issued.key,
            serial=issued.serial,
            chain=issued.chain,
            appearance_digest=None,
        )
        await api.operator.seal_store.add(seal, now())
        refused = await api.get("/v1/seals/before/appearance")
        assert (refused.status_code, refused.json()["code"]) == (422, "character-undrawable")
        assert "HASHSEAL_SEAL_FONTS" in refused.json()["action"]
        signed = (await api.sign("x", seal_id="before")).json()
        assert signed["seal"] == {"id": "before", "appearance_digest": None}

    service(scenario)


def test_a_font_that_is_none_is_said(tmp_path, service, other_settings) -> None:
    font = tmp_path / "none.ttf"
    font.write_text("no font")
    other_settings["seal_fonts"] = (font,)

    async def scenario(api) -> None:
        book = await api.operator.seals()
        subject = LegalPerson("Seal", "Firma \N{GRINNING FACE}", "NTRCH-2", "CH")
        with pytest.raises(ConfigurationInvalid, match=r"none\.ttf"):
            await book.create(api.account, subject, kind="hr", algorithm=KeyAlgorithm.P256)

    service(scenario)
