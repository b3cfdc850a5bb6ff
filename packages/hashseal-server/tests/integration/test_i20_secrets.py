"""I20: no secret in a log, an error, a figure or a database column, also when things go wrong."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from csc_calls import Csc
from needles import everything, written

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.pki.model import LegalPerson
from hashseal_server.signing.store import SigningStore


def private_numbers(keys, secret: bytes) -> list[bytes]:
    """The secret part of every private key in the key store."""
    found = []
    for path in keys.glob("*.p8"):
        key = load_der_private_key(path.read_bytes(), secret)
        found.append(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        if isinstance(key, ec.EllipticCurvePrivateKey):
            found.append(key.private_numbers().private_value.to_bytes(32, "big"))
        elif isinstance(key, rsa.RSAPrivateKey):
            found.append(key.private_numbers().p.to_bytes(192, "big"))
    return found


def test_secrets_are_nowhere(service, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    async def scenario(api) -> None:
        folder = api.operator.settings.data_dir
        book = await api.operator.seals()
        subject = LegalPerson("RSA Seal", "Test Organisation", "NTRCH-1", "CH")
        await book.create(api.account, subject, kind="official", algorithm=KeyAlgorithm.RSA3072)
        token = api.token
        other = (await api.operator.accounts.create_token(api.account)).text
        answers = [
            await api.sign("good", level="B-LT"),
            await api.sign("refused", level="B-X"),
            await api.post("/v1/documents/sign", {"seal_id": token, "hashes": [token]}),
            await api.post("/v1/documents/sign", f'{{"{token}": 1'.encode()),
            await api.post("/v1/documents/sign", {token: token}),
            await api.get(f"/v1/seals/{token}"),
            await api.get(f"/v1/signatures?after={token}"),
            await api.get(f"/{token}"),
            await api.get("/metrics"),
            await api.get("/readyz"),
        ]
        csc, pin = Csc(api), "canary-8261-pin"
        sad = await csc.authorised(api.seal, "csc", "more", PIN=pin, OTP=pin)
        asked = {"credentialID": api.seal, "hashes": [sad], "authData": [{"id": pin, "value": pin}]}
        answers += [
            await csc.sign_doc(sad, "csc"),
            await csc.sign_doc(sad, "csc"),
            await csc.sign_doc(sad, "more", credential=sad[:32]),
            await csc.post("credentials/authorize", asked),
            await csc.post(f"credentials/{sad}", {}),
        ]
        api.token = token[:-1] + ("a" if token[-1] != "a" else "b")
        answers.append(await api.sign("wrong token"))
        api.token = token

        async def explode(*_):
            raise RuntimeError(f"Bearer {token}")

        with monkeypatch.context() as broken:
            broken.setattr(SigningStore, "commit", explode)
            answers.append(await api.sign("explode"))
            answers.append(await csc.sign_doc(sad, "more"))
        assert {a.status_code for a in answers} >= {200, 400, 401, 404, 500}
        await api.operator.audit.sequence()

        secret = (folder / "secret").read_bytes()
        keys = private_numbers(folder / "keys", secret)
        assert len(keys) > 8
        secrets = [token.encode(), other.encode(), token.rpartition("_")[2].encode(), secret]
        secrets += [sad.encode(), pin.encode()]
        needles = {form for one in [*secrets, *keys] for form in written(one)}
        printed = capfd.readouterr()
        files = [p for p in folder.rglob("*") if p.is_file() and p.name != "secret"]
        places = {
            "log": api.log.getvalue().encode(),
            "output": (printed.out + printed.err).encode(),
            "answers": b"\n".join(a.content + repr(a.headers).encode() for a in answers),
            "database": await everything(api.operator.database),
            "files": b"\n".join(path.read_bytes() for path in files),
        }
        assert all(len(content) > 500 for name, content in places.items() if name != "output")
        for place, content in places.items():
            assert not [needle[:12] for needle in needles if needle in content], place

    service(scenario)
