"""I20: a webhook's secret is shown once, and is nowhere else in clear."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from fetching import LOOPBACK
from needles import everything, written
from receiver import receiving

from hashseal_core.webhooks import decode_secret
from hashseal_server.infra.encryption import Encryption
from hashseal_server.web.observing import logger


@pytest.fixture
def other_settings() -> dict[str, Any]:
    return {"outbound_networks": LOOPBACK}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_secrets_of_webhooks_are_nowhere(service, capfd) -> None:
    async def scenario(api: Any) -> None:
        notifying = api.operator.notifying
        headers = {"authorization": f"Bearer {api.token}"}
        made = (await api.post("/v1/webhooks", {"url": receiver.url("/a")})).json()
        path = f"/v1/webhooks/{made['webhook']['id']}"
        again = (await api.http.post(f"{path}/secret", headers=headers, json={})).json()
        texts = [made["secret"], again["secret"]]
        answers = [
            await api.get("/v1/webhooks"),
            await api.get(path),
            await api.http.patch(path, headers=headers, json={"description": "x"}),
            await api.http.post(f"{path}/test", headers=headers),
            await api.post("/v1/webhooks", {"url": texts[0], "types": [texts[1]]}),
            await api.http.patch(path, headers=headers, json={texts[0]: 1}),
            await api.get(f"/v1/webhooks/{texts[1]}"),
            await api.get(f"/v1/events?after={texts[1]}"),
        ]
        piece = notifying.delivering(logger("json", "info", api.log)).piece
        await piece(datetime.now(UTC), None)
        # A folder whose secret is another: nobody can read it, and it is told.
        notifying._encryption = Encryption(b"another", "webhook secrets")
        await notifying.webhooks.test(api.account, made["webhook"]["id"])
        await notifying.delivering(logger("json", "info", api.log)).piece(datetime.now(UTC), None)
        answers.append(await api.get(f"{path}/deliveries"))
        assert '"error":"secret-unusable"' in answers[-1].text
        assert '"event":"webhook-secret"' in api.log.getvalue()
        assert len(receiver.messages) == 1
        receiver.messages[0].check(texts[0])
        logger("json", "info", api.log).error("slip", detail=f"it is {texts[0]}")
        answers.append(await api.http.request("DELETE", path, headers=headers))

        needles = {form for one in texts for form in written(decode_secret(one))}
        needles |= {base64.b64encode(decode_secret(one)) for one in texts}
        printed = capfd.readouterr()
        folder = api.operator.settings.data_dir
        await api.operator.audit.sequence()
        message = receiver.messages[0]
        places = {
            "log": api.log.getvalue().encode(),
            "output": (printed.out + printed.err).encode(),
            "answers": b"\n".join(a.content + repr(a.headers).encode() for a in answers),
            "database": await everything(api.operator.database),
            "files": b"\n".join(p.read_bytes() for p in folder.rglob("*") if p.is_file()),
            "message": message.body + repr(message.headers).encode(),
        }
        for place, content in places.items():
            assert not [needle[:6] for needle in needles if needle in content], place

    with receiving() as receiver:
        service(scenario)
