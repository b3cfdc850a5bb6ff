"""CMS as PAdES and RFC 3161 use it: signed attributes, SignedData with one signer, its check.

What a key signs is always `signed_attributes(...)`; `assemble` wraps the signature value; `parse`
and `check` take the opposite way and trust nothing.
"""

from hashseal_core.cms.algorithm_identifiers import signature_identifier
from hashseal_core.cms.attributes import CONTENT_DATA, CONTENT_TST_INFO, signed_attributes
from hashseal_core.cms.checking import check, verify_digest_value, verify_signature_value
from hashseal_core.cms.long_term import with_material
from hashseal_core.cms.signed_data import (
    Frame,
    SignedData,
    assemble,
    frame,
    parse,
    signature_size,
    strip_padding,
)

__all__ = [
    "CONTENT_DATA",
    "CONTENT_TST_INFO",
    "Frame",
    "SignedData",
    "assemble",
    "check",
    "frame",
    "parse",
    "signature_identifier",
    "signature_size",
    "signed_attributes",
    "strip_padding",
    "verify_digest_value",
    "verify_signature_value",
    "with_material",
]
