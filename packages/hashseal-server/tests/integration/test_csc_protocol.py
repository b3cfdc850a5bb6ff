"""The CSC API in the words of both versions: tolerant of what comes, exact in what is answered."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from csc_calls import ECDSA, RSA, SHA256, Csc, hash_of, refused

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.accounts.model import READ, SIGN
from hashseal_server.accounts.token_model import Terms
from hashseal_server.csc.describing import ABSENT
from hashseal_server.main import now
from hashseal_server.pki.model import LegalPerson
from hashseal_server.remote_signing import raw_credentials

SUBJECT = LegalPerson("Another Seal", "Test Organisation", "NTRCH-1", "CH")
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RAW = pytest.mark.parametrize("other_settings", [{"raw_signing": True}])


@SQLITE
def test_what_is_said_of_service_and_credentials(service) -> None:
    async def scenario(api) -> None:
        for version, specs in (("v1", "1.0.4.0"), ("v2", "2.0.0.2")):
            csc = Csc(api, version=version)
            info = (await csc.post("info", b"", authorization="")).json()
            assert info["specs"] == specs
            assert {"name", "logo", "region", "lang", "description", "authType"} <= set(info)
            # Every method that is named is there, and no other is.
            methods = [one for one in info["methods"] if not one.startswith("oauth2")]
            assert "signatures/signHash" not in methods
            for method in (*methods, *ABSENT, "signatures/signHash", "no/such"):
                answer = await csc.post(method, {})
                assert (answer.status_code == 501) is (method not in methods), method
            listed = (await csc.post("credentials/list", {"maxResults": "10"})).json()
            assert listed == {"credentialIDs": [api.seal]}
            body = {"credentialID": api.seal, "certificates": "chain", "certInfo": "true"}
            shown = (await csc.post("credentials/info", {**body, "authInfo": True})).json()
            assert shown["SCAL"] == "2"
            assert shown["key"] == {
                "status": "enabled",
                "algo": [ECDSA, "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4"],
                "len": 256,
                "curve": "1.2.840.10045.3.1.7",
            }
            assert len(shown["cert"]["certificates"]) == 3
            assert shown["cert"]["status"] == "valid"
            assert shown["cert"]["validTo"][-1] == "Z"
            assert len(shown["cert"]["validTo"]) == 15
            assert shown.get("authMode") == ("implicit" if version == "v1" else None)
            assert shown.get("auth") == (
                {"mode": "explicit", "expression": "", "objects": []} if version == "v2" else None
            )
        csc = Csc(api)
        whole = {"credentialInfo": True, "certificates": "none", "onlyValid": "true"}
        listed = (await csc.post("credentials/list", whole)).json()
        assert listed["onlyValid"] is True
        assert listed["credentialInfos"][0]["credentialID"] == api.seal
        assert "certificates" not in listed["credentialInfos"][0]["cert"]
        await (await api.operator.seals()).revoke(api.account, api.seal, "superseded")
        assert (await csc.post("credentials/list", whole)).json()["credentialIDs"] == []
        refused(
            await csc.post(
                "credentials/authorize", {"credentialID": api.seal, "hashes": [hash_of("x")]}
            ),
            "revoked",
        )

    service(scenario)


@SQLITE
@RAW
def test_spellings_of_both_versions_are_taken_and_contradictions_are_not(service) -> None:
    async def scenario(api) -> None:
        raws = raw_credentials(api.operator, now)
        raw = await raws.create(api.account, SUBJECT, algorithm=KeyAlgorithm.RSA3072)
        assert "signatures/signHash" in (await Csc(api).post("info", {})).json()["methods"]
        one = hash_of("one")
        for version in ("v1", "v2"):
            csc = Csc(api, version=version)
            asked = {"credentialID": raw.id, "numSignatures": "2", "hash": one, "PIN": "1234"}
            pin = {"authData": [{"id": "PIN", "value": "1234"}]}
            sad = (await csc.post("credentials/authorize", {**asked, **pin})).json()["SAD"]
            body = {
                "credentialID": raw.id,
                "SAD": sad,
                "hash": [one],
                "hashes": one,
                "hashAlgo": SHA256,
                "signAlgo": RSA,
                "clientData": "anything",
                "operationMode": "S",
            }
            answer = await csc.post("signatures/signHash", body)
            assert set(answer.json()) == {"signatures"}
            assert len(base64.b64decode(answer.json()["signatures"][0])) == 384
        for changes, words in (
            ({"hashes": [hash_of("two")]}, "hashes is given twice"),
            ({"hashAlgorithmOID": "2.16.840.1.101.3.4.2.3"}, "hashAlgorithmOID is given twice"),
            ({"signAlgo": "1.2.840.113549.1.1.13"}, "contradicts"),
            ({"signAlgo": ECDSA}, "not one of the credential's"),
            ({"signAlgo": "1.2.840.113549.1.1.10"}, "signAlgoParams"),
            ({"signAlgo": None}, "string parameter signAlgo"),
            ({"signAlgoParams": base64.b64encode(b"\x30\x00").decode()}, "no parameters"),
            ({"signAlgoParams": "?"}, "base64"),
            ({"hash": one[:-1]}, "hashes is given twice"),
            ({"hash": "AAAA", "hashes": None}, "32 octets"),
            ({"hash": one[:-1], "hashes": None}, "Base64"),
            ({"hash": [], "hashes": None}, "Empty hash array"),
            ({"hash": None, "hashes": None}, "array parameter hashes"),
            ({"hashAlgo": "1.3.14.3.2.26"}, "SHA-1"),
            ({"hashAlgo": "1.2.3"}, "Invalid parameter hashAlgorithmOID"),
            ({"operationMode": "A"}, "operationMode"),
            ({"response_uri": "http://127.0.0.1/"}, "response_uri"),
            ({"hashType": "sdr"}, "hashType"),
            ({"credentialID": 7}, "parameter credentialID"),
            ({"credentialID": "raw-0000000000000000"}, "Invalid parameter credentialID"),
        ):
            refused(await csc.post("signatures/signHash", {**body, **changes}), words)
        other = {**asked, "authData": [{"id": "PIN", "value": "4321"}]}
        refused(await csc.post("credentials/authorize", other), "PIN is given twice")
        twice = json.dumps(body)[:-1] + ', "hash": "x"}'
        refused(await csc.post("signatures/signHash", twice.encode()), "repeated")
        assert await api.left() == (98, 0)

    service(scenario)


@SQLITE
def test_sign_doc_does_what_was_asked_or_refuses(service) -> None:
    async def scenario(api) -> None:
        csc = Csc(api)
        sad = await csc.authorised(api.seal, "one", "two", "three", "four")
        for changes, words in (
            ({"signature_format": "X"}, "signature_format"),
            ({"signature_format": None}, "string parameter signature_format"),
            ({"conformance_level": "Ades-B-X"}, "conformance_level"),
            ({"signature_format": "C", "conformance_level": "Ades-B-LTA"}, "up to Ades-B-LT"),
            ({"signed_envelope_property": "Attached"}, "signed_envelope_property"),
            ({"signature_format": "C", "signed_envelope_property": "Attached"}, "envelope"),
            ({"signed_props": [{"attribute_name": "Reason"}]}, "signed_props"),
            ({"signAlgo": RSA}, "not one of the credential's"),
        ):
            refused(await csc.sign_doc(sad, "one", **changes), words)
        body = {"credentialID": api.seal, "SAD": sad}
        entry = {"hashes": hash_of("one"), "signature_format": "P", "signAlgo": ECDSA}
        mixed = [entry, {**entry, "hashes": hash_of("two"), "signature_format": "C"}]
        for digests, words in ((None, "Empty"), ([], "Empty"), (mixed, "one format")):
            asked = {**body, "documentDigests": digests}
            refused(await csc.post("signatures/signDoc", asked), words)
        qualified = {**body, "documentDigests": entry, "signatureQualifier": "eu_eidas_qes"}
        refused(await csc.post("signatures/signDoc", qualified), "signatureQualifier")
        # Documents are refused, by name and by what they are.
        for sent in (
            {**body, "documents": [{"document": "AAAA", "signature_format": "P"}]},
            {**body, "clientData": base64.b64encode(b"%PDF-1.7 canary").decode()},
        ):
            refused(await csc.post("signatures/signDoc", sent), "documents are never taken")
        refused(await csc.post("signatures/signDoc", b"\xff{"), "not one JSON object")
        refused(await csc.post("signatures/signDoc", b"[1]"), "not one JSON object")
        refused(await csc.post("signatures/signDoc", b'{"SAD": NaN}'), "no JSON")
        refused(await csc.post("signatures/signDoc", b"[" * 100_000), "not one JSON object")
        refused(await csc.post("signatures/signDoc", b'"' + b"a" * 300_000 + b'"'), "256 KiB", 413)
        # Two entries are one call; levels are read in any case; what was asked for comes back.
        entries = [{**entry, "conformance_level": "ades-b-b"}, {**entry, "hashes": hash_of("two")}]
        asked = {**body, "documentDigests": entries, "returnValidationInformation": "true"}
        answer = (await csc.post("signatures/signDoc", asked)).json()
        assert len(answer["SignatureObject"]) == 2
        assert set(answer["validationInfo"]) == {"ocsp", "crl", "certificates"}
        assert answer["validationInfo"]["ocsp"]
        plain = await csc.sign_doc(sad, "three", conformance_level="b-t")
        assert set(plain.json()) == {"SignatureObject"}
        assert await api.left() == (97, 0)

    service(scenario)


@SQLITE
def test_tokens_clients_and_strangers(service) -> None:
    async def scenario(api) -> None:
        csc = Csc(api)
        nobody = await csc.post("credentials/list", {}, authorization="")
        refused(nobody, "Bearer", 401, "invalid_token")
        assert nobody.headers["www-authenticate"] == "Bearer"
        got = await api.http.get("/csc/v2/info")
        refused(got, "POST only", 405)
        assert got.headers["allow"] == "POST"
        # Scopes hold here, too.
        made = await api.operator.accounts.create_token(
            api.account, Terms(scopes=frozenset({READ}))
        )
        reader = Csc(api, made.text)
        assert (await reader.post("credentials/list", {})).status_code == 200
        asked = {"credentialID": api.seal, "hashes": [hash_of("x")]}
        refused(
            await reader.post("credentials/authorize", asked), "scope sign", 403, "access_denied"
        )
        # Another account's credential is like one that is not there.
        stranger = await api.operator.accounts.create("Other Organisation")
        foreign = Csc(api, (await api.operator.accounts.create_token(stranger.id)).text)
        for method in ("credentials/info", "credentials/authorize"):
            theirs = await foreign.post(method, asked)
            absent = await foreign.post(method, {**asked, "credentialID": "f" * 16})
            assert (theirs.status_code, theirs.content) == (absent.status_code, absent.content)
            refused(theirs, "Invalid parameter credentialID")
        refused(await csc.post("credentials/list", {"userID": stranger.id}), "userID")
        assert (await csc.post("credentials/list", {"userID": api.account})).status_code == 200
        # An OAuth2 client signs with its access token; another token of it is the same client.
        terms = Terms(label="csc", scopes=frozenset({SIGN, READ}))
        client, secret = await oauth2_client(api, terms)
        tokens = []
        for version in ("v1", "v2"):
            form = {"grant_type": "client_credentials", "scope": "service"}
            answer = await api.http.post(
                f"/csc/{version}/oauth2/token", data=form, auth=(client, secret)
            )
            assert answer.status_code == 200, answer.text
            tokens.append(answer.json()["access_token"])
        sad = await Csc(api, tokens[0]).authorised(api.seal, "mine")
        refused(await csc.sign_doc(sad, "mine"), "Invalid parameter SAD")
        assert (await Csc(api, tokens[1]).sign_doc(sad, "mine")).status_code == 200
        done = await api.http.post(
            "/csc/v2/oauth2/revoke", data={"token": tokens[0]}, auth=(client, secret)
        )
        assert (done.status_code, done.content) == (204, b"")
        refused(
            await Csc(api, tokens[0]).post("credentials/list", {}),
            "not valid",
            401,
            "invalid_token",
        )

    service(scenario)


async def oauth2_client(api, terms) -> tuple[str, str]:
    made = await api.operator.clients.create(api.account, terms)
    return made[0].id, made[1].text


@SQLITE
def test_a_timestamp_belongs_to_a_signature_of_the_client(service) -> None:
    async def scenario(api) -> None:
        csc = Csc(api)
        other = Csc(api, (await api.operator.accounts.create_token(api.account)).text)
        digest = base64.b64encode(hashlib.sha256(b"file").digest()).decode()
        asked = {"hash": digest, "hashAlgo": SHA256}
        refused(await csc.post("signatures/timestamp", asked), "waits for its timestamp")
        sad = await csc.authorised(api.seal, "one", "two")
        await csc.sign_doc(sad, "one", conformance_level="Ades-B-LT")
        refused(await csc.post("signatures/timestamp", asked), "waits for its timestamp")
        await csc.sign_doc(sad, "two", conformance_level="Ades-B-LTA")
        refused(await other.post("signatures/timestamp", asked), "waits for its timestamp")
        refused(await csc.post("signatures/timestamp", {**asked, "nonce": "xyz"}), "nonce")
        refused(await csc.post("signatures/timestamp", {"hashAlgo": SHA256}), "parameter hash")
        first = await csc.post("signatures/timestamp", asked, idempotency_key="once")
        assert first.status_code == 200, first.text
        again = await csc.post("signatures/timestamp", asked, idempotency_key="once")
        assert again.content == first.content
        refused(await csc.post("signatures/timestamp", asked), "waits for its timestamp")
        assert await api.left() == (98, 0)
        # One that the native API took is taken; the next is found behind it.
        sad = await csc.authorised(api.seal, "three", "four")
        await csc.sign_doc(sad, "three", "four", conformance_level="Ades-B-LTA")
        newest = (await api.get("/v1/signatures")).json()["signatures"][-2:]
        taken = {"signature_id": newest[0]["id"], "hash": digest}
        assert (await api.post("/v1/timestamps", taken)).status_code == 200
        assert (await csc.post("signatures/timestamp", asked)).status_code == 200
        taken = {"signature_id": newest[1]["id"], "hash": digest}
        assert (await api.post("/v1/timestamps", taken)).json()["code"] == "follow-up-used"
        refused(await csc.post("signatures/timestamp", asked), "waits for its timestamp")

    service(scenario)
