"""What a signature costs elsewhere, in one unit; each row says what the peer delivers for it.

Each peer runs in processes of its own and is measured by the CPU time of those alone. U is measured
in the same round (`limits.unit`). No peer has a bar: all deliver less than a call to Hashseal or
something else, and none of them charges, records or commits anything.
"""

from __future__ import annotations

import base64
import json
import resource
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import peer_material
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from limits import unit
from peer_material import Material
from peer_processes import PATIENCE, Run, Turn, cpu_of, flooding, post, program, request, server
from table import Fact, cost

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm

ROUNDS = 3
SECONDS = 1.5
DIGEST = bytes(range(32))
QUERY = tsp.build_request(Digest(DigestAlgorithm.SHA256, DIGEST), nonce=7)
OIDS = {"RSA-2048": "1.2.840.113549.1.1.11", "P-256": "1.2.840.10045.4.3.2"}


Opened = AbstractContextManager[Run]


@dataclass(frozen=True)
class Peer:
    """Somebody else's program; `run` starts it and yields what signs for some seconds."""

    name: str
    delivers: str
    run: Callable[[Material], Opened]


def sign_hash(algorithm: str, size: int) -> Callable[[Material], Opened]:
    """certomancer-csc-dummy, signatures/signHash, authorised once for all calls."""

    @contextmanager
    def opened(material: Material) -> Iterator[Run]:
        with server(material, "csc") as (pid, port):
            credential = {"credentialID": f"peers/seal-{algorithm}"}

            def ask(method: str, **order: object) -> bytes:
                body = json.dumps({**credential, **order}).encode()
                return request(f"/csc/v1/{method}", "application/json", body)

            body = post(port, ask("credentials/authorize", numSignatures=size))
            order = {
                "SAD": json.loads(body)["SAD"], "signAlgo": OIDS[algorithm],
                "hash": [base64.b64encode(DIGEST).decode()] * size,
            }  # fmt: skip
            octets = ask("signatures/signHash", **order)
            values = json.loads(post(port, octets))["signatures"]
            if len(values) != size:
                raise RuntimeError(f"{len(values)} signatures instead of {size}")
            public = peer_material.private(material.key("seal", algorithm)).public_key()
            digest, value = utils.Prehashed(hashes.SHA256()), base64.b64decode(values[-1])
            if isinstance(public, ec.EllipticCurvePublicKey):
                public.verify(value, DIGEST, ec.ECDSA(digest))
            else:
                public.verify(value, DIGEST, padding.PKCS1v15(), digest)
            yield flooding(pid, port, octets, size)

    return opened


def check_token(material: Material, reply: bytes) -> None:
    """Refuse a reply that OpenSSL does not verify up to the root."""
    query, path = material.folder / "query.tsq", material.folder / "reply.tsr"
    query.write_bytes(QUERY)
    path.write_bytes(reply)
    subprocess.run(
        [
            "openssl", "ts", "-verify", "-queryfile", str(query), "-in", str(path),
            "-CAfile", str(material.root),
        ],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip


def certomancer_tsa(algorithm: str) -> Callable[[Material], Opened]:
    """Certomancer's timestamp authority over HTTP."""

    @contextmanager
    def opened(material: Material) -> Iterator[Run]:
        with server(material, "tsa") as (pid, port):
            path = f"/peers/tsa/tsu-{algorithm}"
            octets = request(path, "application/timestamp-query", QUERY)
            check_token(material, post(port, octets))
            yield flooding(pid, port, octets)

    return opened


def openssl_ts(algorithm: str) -> Callable[[Material], Opened]:
    """`openssl ts -reply`, one process after the other; the kernel tells their CPU when they end."""

    @contextmanager
    def opened(material: Material) -> Iterator[Run]:
        query, reply = material.folder / "ask.tsq", material.folder / "answer.tsr"
        query.write_bytes(QUERY)
        command = [
            "openssl", "ts", "-reply", "-config", str(material.openssl), "-section", algorithm,
            "-queryfile", str(query), "-out", str(reply),
        ]  # fmt: skip

        def used() -> float:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            return ended.ru_utime + ended.ru_stime

        def run(seconds: float) -> Turn:
            began, before, done = time.perf_counter(), used(), 0
            while not done or time.perf_counter() - began < seconds:
                subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
                done += 1
            return Turn(done, used() - before, time.perf_counter() - began)

        run(0)
        check_token(material, reply.read_bytes())
        yield run

    return opened


def pyhanko(algorithm: str, level: str, *, remote: bool = False) -> Callable[[Material], Opened]:
    """pyHanko signing documents; `remote` when the TSA is certomancer's, whose CPU then counts too."""

    @contextmanager
    def opened(material: Material) -> Iterator[Run]:
        with ExitStack() as stack:
            pids, ports = [], []
            if remote:
                pid, port = stack.enter_context(server(material, "tsa"))
                pids, ports = [pid], [str(port)]
            arguments = ("pyhanko", algorithm, level, *ports)
            process = stack.enter_context(program(material, *arguments))
            pids.append(process.pid)
            said(process, PATIENCE)

            def run(seconds: float) -> Turn:
                before, began = cpu_of(pids), time.perf_counter()
                assert process.stdin is not None
                process.stdin.write(f"{seconds}\n")
                process.stdin.flush()
                done = int(said(process, seconds + PATIENCE))
                return Turn(done, cpu_of(pids) - before, time.perf_counter() - began)

            yield run

    return opened


def said(process: subprocess.Popen[str], patience: float) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], patience)
    text = process.stdout.readline() if ready else ""
    if not text:
        raise RuntimeError("the program ended" if ready else "the program said nothing")
    return text


RAW = "raw signature values only"
TOKEN = "a timestamp token only"
PDF = "a signed 10 KB PDF with CMS and timestamp"
PEERS = (
    Peer("certomancer-csc-dummy signHash, RSA-2048", RAW, sign_hash("RSA-2048", 1)),
    Peer("certomancer-csc-dummy signHash, P-256", RAW, sign_hash("P-256", 1)),
    Peer("certomancer-csc-dummy signHash, P-256, 100 hashes a call", RAW, sign_hash("P-256", 100)),
    Peer("certomancer TSA over HTTP, RSA-2048", TOKEN, certomancer_tsa("RSA-2048")),
    Peer("certomancer TSA over HTTP, P-256", TOKEN, certomancer_tsa("P-256")),
    Peer("openssl ts -reply, RSA-2048", f"{TOKEN}, a process each", openssl_ts("RSA-2048")),
    Peer("openssl ts -reply, P-256", f"{TOKEN}, a process each", openssl_ts("P-256")),
    Peer(
        "pyHanko B-T, RSA-2048 twice, all in one process",
        PDF,
        pyhanko("RSA-2048", "B-T"),
    ),
    Peer(
        "pyHanko B-LT, RSA-2048 twice, all in one process",
        f"{PDF}, certificates and CRL",
        pyhanko("RSA-2048", "B-LT"),
    ),
    Peer(
        "pyHanko B-LT, P-256 twice, certomancer TSA over HTTP",
        f"{PDF}, certificates and CRL; CPU of both processes",
        pyhanko("P-256", "B-LT", remote=True),
    ),
)


def measured(peer: Peer, material: Material) -> Fact:
    """One row: medians of the rounds."""
    with peer.run(material) as run:
        run(0.3)
        rounds = []
        for _ in range(ROUNDS):
            one = unit()
            rounds.append((one, run(SECONDS)))
    each = [turn.cpu / turn.signatures for _, turn in rounds]
    units = [turn.cpu / turn.signatures / one for one, turn in rounds]
    rates = [turn.signatures / turn.seconds for _, turn in rounds]
    return cost(
        peer.name, statistics.median(each), statistics.median(units), statistics.median(rates),
        peer.delivers,
    )  # fmt: skip


def rows() -> Iterator[Fact]:
    """Every peer; one that does not run here says why and stops nothing."""
    with tempfile.TemporaryDirectory() as folder:
        material = peer_material.make(Path(folder))
        for peer in PEERS:
            try:
                row = measured(peer, material)
            except Exception as error:  # noqa: BLE001 - whatever fails in a peer is the peer's
                row = Fact(peer.name, None, "absent", " ".join(str(error).split())[:200])
            yield row
