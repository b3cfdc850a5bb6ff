"""Values of the CSC slice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NewType

from hashseal_core.algorithms import Digest, Level, SignatureAlgorithm
from hashseal_server.accounts.model import AccountId, Principal

Client = NewType("Client", str)
SAD_LIFETIME = timedelta(minutes=5)


class HashType(StrEnum):
    """What a hash is of: a document's representation, or data to be signed as they are."""

    DOCUMENT = "sdr"
    DATA = "dtbsr"


class State(StrEnum):
    """Where an authorised hash is: it is signed once."""

    AUTHORISED = "authorised"
    RESERVED = "reserved"
    CONSUMED = "consumed"


class Format(StrEnum):
    """Signature formats that are made."""

    PADES = "P"
    CADES = "C"


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom and what an authorisation is: user, client, credential."""

    account_id: AccountId
    client: Client
    credential_id: str


@dataclass(frozen=True, slots=True)
class Authorised:
    """Hashes that may be signed, each once."""

    hash_type: HashType
    digests: Sequence[Digest]


@dataclass(frozen=True, slots=True)
class Claim:
    """Hashes that are about to be signed; `reservation` says by which request."""

    holder: Holder
    sad: bytes
    authorised: Authorised
    reservation: bytes


@dataclass(frozen=True, slots=True)
class Reserved:
    """Where the hashes of a reservation are, in the order of the signatures."""

    reservation: bytes
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A signature at B-LTA without its document timestamp, and where its hash is."""

    position: int
    signature_id: str


@dataclass(frozen=True, slots=True)
class DocumentsAsked:
    """`signatures/signDoc`, read."""

    credential_id: str
    sad: str
    digests: list[Digest]
    algorithm: SignatureAlgorithm
    format: Format
    level: Level
    validation: bool


@dataclass(frozen=True, slots=True)
class HashesAsked:
    """`signatures/signHash`, read."""

    credential_id: str
    sad: str
    digests: list[Digest]
    algorithm: SignatureAlgorithm


def client_of(caller: Principal) -> Client:
    """Who called: an authorisation is of no use to others of the same account."""
    return Client(caller.actor)


def hash_of_sad(sad: str) -> bytes:
    """Signature activation data as it is stored; it is 256 bits of chance."""
    return hashlib.sha256(sad.encode()).digest()
