"""What later updates of a file changed, in a time that does not grow with their square.

pyHanko holds every later revision against the signed one, for every signature: a file that was
extended 120 times has 121 timestamps and 240 revisions, and would be compared 15,000 times.

Here a signature's revision is compared with those up to the next signature, and what follows that
with the next one, by the same rules, and only once. Rules that keep what is shown from each
signature to the next keep it from the first to the last; what came in between is bound by them as
well. The last revision, which is what readers show, is held against every signed one all the same.
Where a step is not permitted so, or touches a field that the signature locks, that revision
is held against the signed one, as pyHanko does.

pyHanko takes an object for one that nobody refers to when its number is beyond what the revision
before says it has (/Size). That can be a lie, and a signed document can name what is not there yet.
Here no update may define what the earlier revision refers to in this way.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader
from pyhanko.sign.diff_analysis import (
    DiffResult,
    ModificationLevel,
    StandardDiffPolicy,
    SuspiciousModification,
)
from pyhanko.sign.fields import FieldMDPSpec, MDPPerm


class StepwisePolicy(StandardDiffPolicy):  # type: ignore[misc]
    """pyHanko's rules, for one file: what was found of a revision is kept."""

    def __init__(self, *rules: Any, **more: Any) -> None:
        super().__init__(*rules, **more)
        self._signed: set[int] = set()
        self._steps: dict[tuple[int, int, MDPPerm | None], DiffResult | None] = {}
        self._reached: dict[int, frozenset[generic.Reference]] = {}

    def expect(self, reader: PdfFileReader, signed: Iterable[int]) -> None:
        """Before the reviews of one file: the revisions in which it was signed.

        When an object appeared and was last changed is asked for very often, too; pyHanko would
        look through all sections each time.
        """
        self._signed.update(signed)
        history: Any = reader.xrefs
        introduced = history.get_introducing_revision

        def first(reference: generic.Reference) -> int:
            """What is not there at all is nothing new either."""
            try:
                return int(introduced(reference))
            except KeyError:
                return 0

        history.get_last_change = cache(history.get_last_change)
        history.get_introducing_revision = cache(first)

    def apply(
        self,
        old: HistoricalResolver,
        new: HistoricalResolver,
        field_mdp_spec: FieldMDPSpec | None = None,
        doc_mdp: MDPPerm | None = None,
    ) -> DiffResult:
        """What one revision does to an earlier one.

        Raises:
            SuspiciousModification: it is not permitted.
        """
        if old.revision not in self._reached:
            self._reached[old.revision] = _reached(old)
        before = old.reader.get_historical_resolver(new.revision - 1)
        for reference in new.explicit_refs_in_revision() & self._reached[old.revision]:
            if before.is_ref_unassignable(reference) or old.is_ref_unassignable(reference):
                raise SuspiciousModification(f"{reference} was referred to before it was there")
        return super().apply(old, new, field_mdp_spec, doc_mdp)

    def review_file(
        self,
        reader: PdfFileReader,
        base_revision: Any,
        field_mdp_spec: FieldMDPSpec | None = None,
        doc_mdp: MDPPerm | None = None,
    ) -> DiffResult | SuspiciousModification:
        """The highest level of the revisions after `base_revision`, a number; or the fault."""
        signed = reader.get_historical_resolver(base_revision)
        before, last = signed.revision, reader.xrefs.total_revisions - 1
        level, fields = ModificationLevel.NONE, set[str]()
        for revision in range(before + 1, last + 1):
            found = self._step(reader, before, revision, doc_mdp)
            shown = revision == last and before > signed.revision
            before = revision if revision in self._signed else before
            if found is None or shown or _locked(found, field_mdp_spec):
                after = reader.get_historical_resolver(revision)
                try:
                    found = self.apply(signed, after, field_mdp_spec, doc_mdp)
                except SuspiciousModification as error:
                    return error
            level = max(level, found.modification_level)
            fields |= found.changed_form_fields
        return DiffResult(level, fields)

    def _step(
        self, reader: PdfFileReader, before: int, after: int, doc_mdp: MDPPerm | None
    ) -> DiffResult | None:
        """What one revision does to an earlier one; None if that is not permitted."""
        key = before, after, doc_mdp
        if key not in self._steps:
            old, new = map(reader.get_historical_resolver, (before, after))
            try:
                self._steps[key] = self.apply(old, new, doc_mdp=doc_mdp)
            except (SuspiciousModification, PdfReadError):
                self._steps[key] = None
        return self._steps[key]


def _locked(found: DiffResult, locks: FieldMDPSpec | None) -> bool:
    return locks is not None and any(map(locks.is_locked, found.changed_form_fields))


def _reached(revision: HistoricalResolver) -> frozenset[generic.Reference]:
    """Every reference that can be come to from the trailer, those to nothing included."""
    found: set[generic.Reference] = set()
    waiting: list[Any] = [revision.trailer_view]
    while waiting:
        one = waiting.pop()
        if isinstance(one, generic.IndirectObject):
            if one.reference in found:
                continue
            found.add(one.reference)
            one = revision(one.reference)
        if isinstance(one, generic.DecryptedObjectProxy):
            one = one.raw_object  # references are not encrypted
        if isinstance(one, generic.DictionaryObject):
            waiting += one.values()
        elif isinstance(one, generic.ArrayObject):
            waiting += one
    return frozenset(found)
