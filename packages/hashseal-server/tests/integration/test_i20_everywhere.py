"""I20: every scenario of these tests is looked through for secrets; here, that the look finds them.

See `tests/judging/leaking.py`, which has a row for each kind of secret.
"""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from leaking import KINDS, Watch, places

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
EXAMPLES = {
    "API token or access token": b"hs_" + b"0" * 16 + b"_" + b"1" * 56,
    "API key of the gateway": b"hsg_" + b"0" * 16 + b"_" + b"1" * 56,
    "secret of an authenticator": b"otpauth://totp/Hashseal:ada?secret=",
    "secret of an OAuth2 client": b"hsc_" + b"0" * 16 + b"_" + b"1" * 56,
    "secret of a webhook": b"whsec_" + base64.b64encode(bytes(range(24))),
}


def keys() -> list[bytes]:
    made = [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)]
    return [
        key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
        for key in made
        for encoding in (Encoding.DER, Encoding.PEM)
    ]


def test_every_kind_can_be_recognised(service) -> None:
    async def scenario(api) -> None:
        for number in range(4):
            assert (await api.sign(f"{number}")).status_code == 200
        clean = await places(api.operator, api.log.getvalue(), Watch())
        assert all(len(content) > 500 for name, content in clean.items() if name != "refusals")
        assert Watch().leaks(clean) == []
        for kind in KINDS:
            assert kind.form or kind.shown or kind.sent, f"{kind.name} cannot be recognised"
            if example := EXAMPLES.get(kind.name):
                assert Watch().leaks({"log": b"x " + example + b" y"}), kind.name
        for key in keys():
            assert Watch().leaks({"files": b"before" + key})
        seen = Watch()
        seen.learn("SAD", "a secret that looks like anything")
        for form in (
            b"a secret that looks like anything",
            b"a secret that looks like anything".hex(),
        ):
            content = form if isinstance(form, bytes) else form.encode()
            assert seen.leaks({"database": b"..." + content}) == ["SAD in database"]

    service(scenario)


def test_what_is_sent_and_shown_is_learnt(service) -> None:
    async def scenario(api) -> None:
        seen = Watch()
        api.http.event_hooks["response"].append(seen.hear)
        asked = {"PIN": "canary-pin-8261", "hashes": [], "authData": [{"OTP": "canary-otp-7319"}]}
        assert (await api.post("/v1/documents/sign", asked)).status_code == 400
        form = b"client_secret=canary-client-5520&grant_type=x"
        await api.post("/v1/documents/sign", form, content_type="application/x-www-form-urlencoded")
        parts = {"document": b"%PDF", "options": (None, '{"password": "canary-word-4417"}')}
        await api.http.post("/v1/documents/sign", files=parts)
        assert set(seen.secrets) == {
            *(b"canary-pin-8261", b"canary-otp-7319", b"canary-client-5520", b"canary-word-4417"),
        }
        assert len(seen.refusals) == 3

    service(scenario)


@pytest.mark.parametrize("where", ["files", "log", "figures", "traces"])
def test_a_token_that_is_left_behind_is_found(service, where: str) -> None:
    async def careless(api) -> None:
        if where == "log":
            api.log.write(f"it is {api.token}")
        elif where == "figures":
            api.app._observer.figures.answered("GET", f"/{api.token}", 200, "", 0.1)
        elif where == "traces":
            with api.operator.tracing.step(f"sign for {api.token}"):
                pass
        else:
            (api.operator.settings.data_dir / "left-behind").write_text(f"it is {api.token}")

    with pytest.raises(AssertionError, match=f"API token or access token in {where}"):
        service(careless)
