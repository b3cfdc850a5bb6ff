"""A token that goes away, a session that is lost, a process that is killed while it makes keys."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokens import MODULE, PIN, Tokens

pytestmark = pytest.mark.hsm

COMMON = f"""
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from hashseal_core.algorithms import *
from hashseal_core.errors import *
from hashseal_server.keystore.folder import SignerFolder
from hashseal_server.keystore.pkcs11 import Pkcs11KeyStore, TokenAccess
from hashseal_server.keystore.purpose import Purpose
folder = SignerFolder(Path(sys.argv[1])); folder.prepare()
module = Path({str(MODULE)!r})
def store(pin={PIN!r}, label="seal", module=module, machine="abcd0123"):
    return Pkcs11KeyStore(module, [TokenAccess(label, pin, frozenset(Purpose))],
        neighbours=folder, machine=machine, now=lambda: datetime.now(UTC))
def unavailable(work):
    try: work()
    except KeystoreUnavailable as error: return error.detail
    raise AssertionError("it answers")
ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "hsm", labels=("seal",))


def inside(tokens: Tokens, code: str, *words: str) -> str:
    done = tokens.run(
        sys.executable, "-c", COMMON + code, str(tokens.signers), *words, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_token_that_was_away_is_used_again_without_a_restart(tokens: Tokens) -> None:
    inside(
        tokens,
        """
here, away = Path(sys.argv[2]), Path(sys.argv[2] + ".away")
keys = store()
one, _ = keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "a")
two, _ = keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "a")
keys.close()
for _ in range(3):
    keys.sign(one, b"x", ECDSA)
    here.rename(away); here.mkdir()
    unavailable(lambda: keys.sign(two, b"x", ECDSA))
    unavailable(lambda: keys.sign(two, b"x", ECDSA))
    unavailable(keys.health)
    unavailable(lambda: keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "a"))
    here.rmdir(); away.rename(here)
    time.sleep(1.1)
    keys.sign(two, b"x", ECDSA)
    keys.health()
""",
        str(tokens.folder / "tokens"),
    )


def test_a_module_that_comes_late_is_used_without_a_restart(tokens: Tokens) -> None:
    inside(
        tokens,
        """
late = Path(sys.argv[2])
keys = store(module=late)
unavailable(keys.health)
unavailable(keys.health)
late.symlink_to(module)
time.sleep(1.1)
keys.health()
""",
        str(tokens.folder / "late.so"),
    )


def test_a_lost_session_is_opened_again_and_the_call_succeeds(tokens: Tokens) -> None:
    inside(
        tokens,
        f"""
import pkcs11
keys = store()
one, _ = keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "a")
for _ in range(20):
    pkcs11.lib({str(MODULE)!r}).finalize()  # as a driver does that lost its device
    keys.sign(one, b"x", ECDSA)
for _ in range(20):
    keys._sessions.tokens[0].session.close()  # logged out behind our back
    keys.sign(one, b"x", ECDSA)
""",
    )


def test_a_wrong_pin_is_tried_once_by_all_processes_together(tokens: Tokens) -> None:
    for _ in range(6):
        inside(
            tokens,
            "k = store(pin='wrong'); unavailable(k.health); time.sleep(0.1); unavailable(k.health)",
        )
    flags = tokens.run("softhsm2-util", "--show-slots").stdout
    assert "locked" not in flags.lower()
    inside(tokens, "store().health()")
    assert "count low" not in tokens.tool("--list-token-slots").stdout


def test_a_token_that_is_not_there_is_said(tokens: Tokens) -> None:
    assert "does not answer" in inside(tokens, "print(unavailable(store(label='other').health))")


# SoftHSM rewrites a token's own file at each login, without a copy: killed there, it loses the token.
MAKING = """
keys = store(); keys.health()
print("ready", flush=True)
while True:
    for algorithm in (KeyAlgorithm.P256, KeyAlgorithm.RSA2048, KeyAlgorithm.P384):
        print(keys.generate(Purpose.SEAL, algorithm, "a")[0], flush=True)
"""


def test_killed_while_it_makes_keys_it_leaves_every_named_key_and_no_other(tokens: Tokens) -> None:
    chance, named = random.Random(4), []
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMON + MAKING, str(tokens.signers)],
            env=tokens.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        named += [line for line in out.splitlines() if len(line) == len("seal.") + 32]
    assert len(named) > 5, "too few to prove anything"
    inside(
        tokens,
        """
keys = store(); keys.health()
assert not keys.findings, keys.findings
for reference in sys.argv[2:]:
    spki = keys.public_key(reference)
    try: keys.sign(reference, b"x", ECDSA)
    except KeystoreRefused as error: assert "of the kind" in error.detail  # an RSA key
""",
        *named,
    )
    listed = tokens.tool("--list-objects").stdout
    labels = [line.split()[-1] for line in listed.splitlines() if "label:" in line]
    labels = [label for label in labels if label.startswith("hashseal:")]  # SoftHSM leaves shells
    pairs = labels.count("hashseal:active") + 1  # one is for health
    assert pairs * 2 == len(labels), listed
    found = {line.split()[-1] for line in listed.splitlines() if "ID:" in line}
    unnamed = found - {reference.split(".")[1] for reference in named}
    # A key may have become active just before its name was written: one at most for each kill.
    assert len(unnamed) - 1 <= 25


def test_what_another_machine_has_under_way_is_left_alone(tokens: Tokens) -> None:
    inside(
        tokens,
        f"""
import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag
keys = store(); keys.health(); keys.close()
session = pkcs11.lib({str(MODULE)!r}).get_token(token_label="seal").open(rw=True, user_pin={PIN!r})
now = int(time.time())
for number, (machine, made, public) in enumerate((
        ("ffffffff", now, "hashseal:creating:ffffffff"),
        ("abcd0123", now, "hashseal:creating:abcd0123"),
        ("abcd0123", now, "hashseal:gone:abcd0123"),
        ("abcd0123", now, None), ("abcd0123", now - 100_000, None))):
    public_key, _ = session.generate_keypair(KeyType.RSA, 2048, id=bytes([number]) * 16, store=True,
        capabilities=MechanismFlag.SIGN,
        private_template={{Attribute.LABEL: f"hashseal:seal:-:{{machine}}:{{made:x}}"}},
        public_template={{Attribute.LABEL: public or "x"}})
    if public is None: public_key.destroy()
session.close()
keys = store(); keys.health()
assert sorted(keys.findings) == [
    "seal." + "00" * 16 + ": not a whole key", "seal." + "04" * 16 + ": not a whole key"], keys.findings
keys.close()
session = pkcs11.lib({str(MODULE)!r}).get_token(token_label="seal").open(user_pin={PIN!r})
left = {{o[Attribute.ID] for o in session.get_objects({{Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}})}}
assert left == {{bytes(16), bytes([4]) * 16, b"hashseal:health"}}, left
""",
    )


SHARING = """
keys = store(); keys.health()
print("ready", flush=True)
for line in sys.stdin:
    if line == "make\\n": print(keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "a")[0], flush=True)
    else: print(keys.public_key(line.strip()).hex()[:8], flush=True)
"""


def test_a_key_that_one_process_made_is_seen_by_all(tokens: Tokens) -> None:
    """SoftHSM forgets what others changed when it changes something itself."""
    processes = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMON + SHARING, str(tokens.signers)],
            env=tokens.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        processes.append(process)

    def ask(process: subprocess.Popen[str], line: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    chance, made = random.Random(8), []
    for _ in range(120):
        if not made or chance.random() < 0.4:
            made.append(ask(chance.choice(processes), "make"))
        name = chance.choice(made[-4:])
        found = {ask(process, name) for process in processes}
        assert len(found) == 1
        assert len(found.pop()) == 8
    for process in processes:
        process.communicate()
