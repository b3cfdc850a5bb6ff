"""How many ways lead up from a certificate: counted before pyHanko goes them all (I18)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from asn1crypto import x509
from pyhanko_certvalidator.registry import CertificateRegistry, SimpleTrustManager

from hashseal.validation import limits

_SHOWN = 64


def require_few(
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
            if count > limits.MAX_CHAIN_STEPS:
                names = Counter(one.subject.human_friendly for one in certificates)
                name, number = names.most_common(1)[0]
                raise limits.LimitExceeded(
                    "the chain of a certificate can be built in more than "
                    f"{limits.MAX_CHAIN_STEPS} steps: {number} certificates are named "
                    f"{name[:_SHOWN]!r}. Ask the signer for a file with certificates of one chain"
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
