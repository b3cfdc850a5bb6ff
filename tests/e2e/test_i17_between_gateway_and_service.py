"""I17: a proxy that swaps, cuts, repeats and corrupts what passes over real sockets: no wrong file."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import generated_pdfs
import judgement
import pytest
from gateway_command import Command, Running
from go_between import GoBetween, Message, between

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("i17-proxy")]
SIGN = "/v1/documents/sign"
CALLS, AT_ONCE = 96, 8
WAYS = ("swap", "cut", "break off", "repeat", "corrupt", "corrupt a head", "stutter", "pass")
TOLD = {"answer-mismatch", "service-unreachable", "seal-not-found", "signature-too-large"}
"""The last two when a list of seals was changed: the seal is not in it, or its size is another."""


def document(number: int) -> bytes:
    return generated_pdfs.with_table(generated_pdfs.one_page(text=f"number {number}"))


class Liar:
    """What it does to an answer is drawn by a seed; answers to paths of `honest` it leaves alone."""

    def __init__(self, honest: tuple[str, ...] = ()) -> None:
        self.honest = honest
        self.choose = random.Random("liar")
        self.kept: list[Message] = []
        self.waiting: asyncio.Future[tuple[Message, asyncio.Future[Message]]] | None = None
        self.done: Counter[str] = Counter()

    async def __call__(self, request: Message, answer: Message) -> bytes:
        if request.path.startswith(self.honest):
            return answer.octets
        self.kept.append(answer)
        way = self.choose.choice(WAYS)
        self.done[way] += 1
        at, bit = self.choose.randrange(1, len(answer.body)), self.choose.randrange(7)
        made = answer.octets
        match way:
            case "swap":
                made = (await self._other(answer)).octets
            case "cut":
                made = answer.with_body(answer.body[:at])
            case "break off":
                made = answer.head + answer.body[:at]
            case "repeat":
                made = self.choose.choice(self.kept).octets
            case "corrupt":
                made = answer.head + flipped(answer.body, at, bit)
            case "corrupt a head":
                where = self.choose.randrange(len(answer.head) - 4)
                made = flipped(answer.head, where, bit) + answer.body
            case "stutter":
                made = answer.octets * 2
        return made

    async def _other(self, answer: Message) -> Message:
        """The answer of whoever asks at the same time; each gets that of the other."""
        if self.waiting is None:
            mine = asyncio.get_running_loop().create_future()
            self.waiting = mine
            try:
                async with asyncio.timeout(0.5):
                    other, back = await mine
            except TimeoutError:
                self.waiting = None
                return answer
            back.set_result(answer)
            return other
        theirs, self.waiting = self.waiting, None
        back = asyncio.get_running_loop().create_future()
        theirs.set_result((answer, back))
        return await back


def flipped(octets: bytes, at: int, bit: int) -> bytes:
    return octets[:at] + bytes([octets[at] ^ 1 << bit]) + octets[at + 1 :]


@pytest.fixture(scope="module")
def wire(service) -> Iterator[GoBetween]:
    with between(service.url, service.token) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(wire: GoBetween, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    command = Command(tmp_path_factory.mktemp("gateway"), wire)
    with command.serving(service_timeout="2") as running:
        yield running


def test_no_wrong_file(gateway: Running, wire: GoBetween, service, tmp_path: Path) -> None:
    liar = Liar()
    wire.change = liar
    seals = list(service.seals.values())
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(
                pool.map(
                    lambda number: gateway.sign(document(number), seals[number % len(seals)]),
                    range(CALLS),
                )
            )
    finally:
        wire.change = None
    told = Counter("file" if a.status_code == 200 else a.json()["code"] for a in answers)
    print(f"\n{dict(liar.done)}; {dict(told)}")
    assert set(told) <= {"file", *TOLD}, told
    assert set(liar.done) == set(WAYS)
    assert told["file"] > 0
    assert told["answer-mismatch"] > 0
    anchor = judgement.write_pem(service.anchor_der, tmp_path / "root.pem")
    for number, answer in enumerate(answers):
        if answer.status_code == 200:
            assert answer.content.startswith(document(number))
            assert answer.headers["hashseal-seal-id"] == seals[number % len(seals)]
            (found,) = judgement.signatures(answer.content)
            assert judgement.openssl_cms(found, anchor, tmp_path), number
    good = next(a for a in answers if a.status_code == 200).content
    assert judgement.pyhanko(good, service.anchor_der, judgement.dss(good)) == [True]


def test_what_waits_is_signed_in_spite_of_lies(
    gateway: Running, wire: GoBetween, service, tmp_path: Path
) -> None:
    """Each lie is one more attempt; the hash that travels is always the same."""
    seal = service.seals["P-256"]
    wire.traffic.clear()
    # A seal that the list does not have is refused for good: nothing waits for it.
    wire.change = Liar(honest=("/v1/seals",))
    made = [gateway.sign(document(number), seal, later=True).json()["id"] for number in range(6)]
    for identity in made:
        gateway.until(identity, "signed", "waiting")
    wire.change = None
    for number, identity in enumerate(made):
        found = gateway.until(identity, "signed")
        content = gateway.client.get(found["content_url"]).content
        assert content.startswith(document(number))
        path = tmp_path / "signed.pdf"
        path.write_bytes(content)
        assert judgement.pdfsig(path) == [True]
    asked = [one for one in wire.traffic if one.startswith(b"POST " + SIGN.encode())]
    assert len({one.partition(b"\r\n\r\n")[2] for one in asked}) == len(made)
