"""The validation material in a file, read once and handed out as far as it matters.

A file that is extended every month has hundreds of OCSP responses and revocation lists about the
same few certificates. pyHanko tries them one by one, for every signature. It is handed all that
speak of a revocation and, of those that say the same good news about the same certificate, the ones
around the time in question: the others could only say it again. Who says so is shown by a
signature: what nobody at hand has signed stands for itself, and takes the place of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain, groupby
from typing import Any, TypeVar

from asn1crypto import core, crl, ocsp, x509
from pyhanko.pdf_utils.decode_limits import DecodePurpose
from pyhanko.pdf_utils.misc import get_and_apply
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer

from hashseal.validation import chains, limits
from hashseal.validation.makers import Makers

_Given = TypeVar("_Given")
_Read = TypeVar("_Read")
_NEXT, _FRESHEST = 3, 1
_TOLERANCE, _WITHOUT_END = timedelta(seconds=1), timedelta(minutes=30)
"""As pyHanko has it: how exact clocks are, and how long what names no nextUpdate counts."""
_EXTENDED = "it was extended more often than that"
_KINDS = (
    ("/Certs", DecodePurpose.CERTIFICATE),
    ("/OCSPs", DecodePurpose.OCSP_RESPONSE),
    ("/CRLs", DecodePurpose.CRL),
)


@dataclass(frozen=True, slots=True)
class _Status:
    """One answer about one certificate, or one list; `about` also says whose word it is."""

    container: Any
    about: tuple[bytes, ...]
    issued_at: datetime
    until: datetime
    revokes: bool


class Material:
    """Certificates and status data of the DSS; `bags` are those that the signatures bring."""

    def __init__(
        self,
        reader: PdfFileReader,
        anchors: Sequence[x509.Certificate],
        bags: Iterable[Sequence[x509.Certificate]],
    ) -> None:
        """Read the DSS, if there is one; what is no validation material in it is left out.

        Raises:
            LimitExceeded: more certificates, status data or ways to build chains than may be.
        """
        certificates, responses, lists = _stored(reader)
        limits.require(
            len(responses) + len(lists),
            limits.MAX_STATUS_OBJECTS,
            "OCSP responses and revocation lists",
            _EXTENDED,
        )
        self._anchors = anchors
        answers = [*_read(responses, _answers)]
        own = chain(certificates, *_read(chain(*(said for _, said in answers)), _responders))
        self._certificates = [*{one.sha256: one for one in readable(own)}.values()]
        together = {one.sha256: one for one in chain(self._certificates, *bags)}
        limits.require(
            len(together),
            limits.MAX_STORED_CERTIFICATES,
            "certificates",
            "ask the signer for a file with those of its own chains only",
        )
        chains.require_few(self._certificates, self._certificates, anchors)
        self._looked_through: set[frozenset[bytes]] = set()
        serials = [core.Integer(one.serial_number).dump() for one in together.values()]
        makers = Makers((*together.values(), *anchors))
        told = (
            (one, makers.of_answer(octets) or octets) for octets, said in answers for one in said
        )
        self._ocsps = _grouped(_read(told, lambda pair: _answer(*pair)))
        self._crls = _grouped(
            _read(lists, lambda octets: _list(octets, makers.of_list(octets) or octets, serials))
        )

    def require_few_chains(self, bag: Sequence[x509.Certificate]) -> None:
        """Once for each set of certificates that a signature brings.

        Raises:
            LimitExceeded: with the stored ones they can be chained in too many ways.
        """
        key = frozenset(one.sha256 for one in bag)
        if key not in self._looked_through:
            chains.require_few([*self._certificates, *bag], bag, self._anchors)
            self._looked_through.add(key)

    def context(self, moment: datetime, *, require: bool) -> ValidationContext:
        """What pyHanko may rest its judgement on, as of a moment; it fetches nothing."""
        return ValidationContext(
            trust_roots=self._anchors,
            other_certs=self._certificates,
            ocsps=list(_around(moment, self._ocsps)),
            crls=list(_around(moment, self._crls)),
            allow_fetching=False,
            revocation_mode="require" if require else "soft-fail",
            moment=moment,
            retroactive_revinfo=True,
        )


def _stored(reader: PdfFileReader) -> list[list[bytes]]:
    """The distinct octets in each array of the DSS (EN 319 142-1, 5.4.2.2)."""
    store = get_and_apply(reader.root, "/DSS", lambda one: one, default={})
    found = []
    for key, purpose in _KINDS:
        streams = get_and_apply(store, key, list, default=[])
        limits.require(
            len(streams), limits.MAX_STATUS_OBJECTS, f"entries in {key} of its store", _EXTENDED
        )
        octets = (one.get_object().read_data(purpose) for one in streams)
        found.append(list(dict.fromkeys(octets)))
    return found


def _read(items: Iterable[_Given], read: Callable[[_Given], _Read]) -> Iterator[_Read]:
    """What can be read; asn1crypto finds faults late, and of many types."""
    for item in items:
        try:
            yield read(item)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            continue


def readable(encoded: Iterable[bytes]) -> list[x509.Certificate]:
    """Those of the certificates (DER) that pyHanko can file by subject, key and serial number."""
    return list(_read(encoded, _filed))


@lru_cache(2 * limits.MAX_STORED_CERTIFICATES)
def _filed(octets: bytes) -> x509.Certificate:
    """Most signatures of a file bring the same ones."""
    certificate = x509.Certificate.load(octets)
    SimpleCertificateStore().register(certificate)
    return certificate


def _answers(octets: bytes) -> tuple[bytes, list[OCSPContainer]]:
    return octets, list(OCSPContainer.load_multi(ocsp.OCSPResponse.load(octets)))


def _responders(container: OCSPContainer) -> list[bytes]:
    return [one.dump() for one in container.extract_basic_ocsp_response()["certs"] or ()]


def _answer(container: OCSPContainer, maker: bytes) -> _Status:
    response = container.extract_basic_ocsp_response()["tbs_response_data"]
    single = container.extract_single_response()
    issued_at = single["this_update"].native
    return _Status(
        container,
        (maker, single["cert_id"].dump(), response["responder_id"].dump()),
        _exact(issued_at),
        _exact(single["next_update"].native or issued_at + _WITHOUT_END),
        revokes=single["cert_status"].name != "good",
    )


def _list(octets: bytes, maker: bytes, serials: Collection[bytes]) -> _Status:
    """A list of which no octets are like any serial number here revokes nothing here."""
    container = CRLContainer(crl.CertificateList.load(octets))
    revocations = container.crl_data
    issued_at = container.issuance_date
    part = revocations.issuing_distribution_point_value
    delta = revocations.delta_crl_indicator_value
    return _Status(
        container,
        (
            maker,
            revocations.issuer.dump(),
            revocations.authority_key_identifier or b"",
            part.dump() if part else b"",
            delta.dump() if delta else b"",
        ),
        _exact(issued_at),
        _exact(revocations["tbs_cert_list"]["next_update"].native or issued_at + _WITHOUT_END),
        revokes=any(serial in octets for serial in serials),
    )


def _exact(moment: datetime) -> datetime:
    """A time with its zone; one without can be held against no other.

    Raises:
        ValueError: it has none.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment


def _grouped(found: Iterable[_Status]) -> list[list[_Status]]:
    """By what they are about, oldest first."""
    ordered = sorted(found, key=lambda one: (one.about, one.issued_at))
    return [list(group) for _, group in groupby(ordered, key=lambda one: one.about)]


def _around(moment: datetime, groups: list[list[_Status]]) -> Iterator[Any]:
    """Every revocation; of the good news the first that still count then, and the freshest."""
    for group in groups:
        good = [one for one in group if not one.revokes]
        counting = [one for one in good if one.until >= moment - _TOLERANCE]
        near = {id(one) for one in (*counting[:_NEXT], *good[-_FRESHEST:])}
        yield from (one.container for one in group if one.revokes or id(one) in near)
