"""What a file may ask of the validator: counted before pyHanko works with it (I18).

A file that is extended a hundred times, with fresh status data each time, stays far within these
counts. Whatever gets past them is ended by the limits on CPU and memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from asn1crypto import x509
from pyhanko_certvalidator.registry import CertificateRegistry, SimpleTrustManager

MEMORY_OCTETS = 512 << 20
CPU_SECONDS = 9
WALL_SECONDS = 30
"""Only for a machine that lets the process have less than a third of a core: CPU ends it first."""
USUAL_OCTETS, OCTETS_A_SECOND = 100 << 20, 16 << 20
"""A larger file has a second more for so many octets, as when it is signed."""

MAX_SIGNATURES = 256
MAX_REVISIONS = 1024
MAX_STATUS_OBJECTS = 2048
MAX_STORED_CERTIFICATES = 512
MAX_SIGNATURE_CERTIFICATES = 32
MAX_CHAIN_STEPS = 256
_SHOWN = 64


class LimitExceeded(Exception):
    """The file wants more than a file may have; the text says of what, and what to do."""


def more_seconds(octets: int) -> int:
    """How much longer than usual a file of this size may take."""
    return max(0, octets - USUAL_OCTETS) // OCTETS_A_SECOND


def require(count: int, limit: int, what: str, remedy: str) -> None:
    """`what` is a plural.

    Raises:
        LimitExceeded: there are more.
    """
    if count > limit:
        raise LimitExceeded(f"the file has {count} {what}; at most {limit} are verified: {remedy}")


def require_few_chains(
    certificates: Collection[x509.Certificate],
    starts: Collection[x509.Certificate],
    anchors: Sequence[x509.Certificate],
) -> None:
    """Certificates of the same name multiply the ways up from each; pyHanko goes them all.

    Cross certificates of one authority are a few ways; a dozen that are all each other's issuers
    are more than anybody can try.

    Raises:
        LimitExceeded: from one of `starts` there are more steps than any honest hierarchy has.
    """
    registry = CertificateRegistry.build(certificates)
    roots = SimpleTrustManager.build(trust_roots=anchors)
    for start in starts:
        steps = _steps(start, registry, roots, frozenset([start.issuer_serial]))
        for count, _ in enumerate(steps, 1):
            if count > MAX_CHAIN_STEPS:
                names = Counter(one.subject.human_friendly for one in certificates)
                name, number = names.most_common(1)[0]
                raise LimitExceeded(
                    f"the chain of a certificate can be built in more than {MAX_CHAIN_STEPS} "
                    f"steps: {number} certificates are named {name[:_SHOWN]!r}. Ask the signer "
                    "for a file with the certificates of one chain"
                )


def _steps(
    certificate: x509.Certificate,
    registry: CertificateRegistry,
    roots: SimpleTrustManager,
    seen: frozenset[bytes],
) -> Iterator[None]:
    """One item for each step that pyHanko's search for paths can take (its `_PathWalker`)."""
    for issuer in registry.find_potential_issuers(certificate, roots):
        if not isinstance(issuer, x509.Certificate):
            yield
        elif issuer.issuer_serial not in seen:
            yield
            yield from _steps(issuer, registry, roots, seen | {issuer.issuer_serial})
