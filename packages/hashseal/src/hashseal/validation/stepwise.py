"""What later updates of a file changed, in a time that does not grow with their square.

pyHanko holds every later revision against the signed one, for every signature: a file that was
extended 120 times has 121 timestamps and 240 revisions, and would be compared 15,000 times.

Here each revision is held against the one before it, by the same rules, and only once. Rules that
keep what is shown from each revision to the next keep it from the first to the last; what came in
between is bound by them as well. Where a step is not permitted so, or touches a field that the
signature locks, that revision is held against the signed one, as pyHanko does.
"""

from __future__ import annotations

from typing import Any

from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import (
    DiffResult,
    ModificationLevel,
    StandardDiffPolicy,
    SuspiciousModification,
)
from pyhanko.sign.fields import FieldMDPSpec, MDPPerm


class StepwisePolicy(StandardDiffPolicy):
    """pyHanko's rules, for one file: what was found of a revision is kept."""

    def __init__(self, *rules: Any, **more: Any) -> None:
        super().__init__(*rules, **more)
        self._steps: dict[tuple[int, MDPPerm | None], DiffResult | None] = {}

    def review_file(
        self,
        reader: PdfFileReader,
        base_revision: Any,
        field_mdp_spec: FieldMDPSpec | None = None,
        doc_mdp: MDPPerm | None = None,
    ) -> DiffResult | SuspiciousModification:
        """The highest level of the revisions after `base_revision`, a number; or the fault."""
        level, fields = ModificationLevel.NONE, set[str]()
        signed = reader.get_historical_resolver(base_revision)
        for revision in range(signed.revision + 1, reader.xrefs.total_revisions):
            found = self._step(reader, revision, doc_mdp)
            if found is None or _locked(found, field_mdp_spec):
                after = reader.get_historical_resolver(revision)
                try:
                    found = self.apply(signed, after, field_mdp_spec, doc_mdp)
                except SuspiciousModification as error:
                    return error
            level = max(level, found.modification_level)
            fields |= found.changed_form_fields
        return DiffResult(level, fields)

    def _step(
        self, reader: PdfFileReader, revision: int, doc_mdp: MDPPerm | None
    ) -> DiffResult | None:
        """What a revision does to the one before it; None if that is not permitted."""
        key = revision, doc_mdp
        if key not in self._steps:
            before = reader.get_historical_resolver(revision - 1)
            after = reader.get_historical_resolver(revision)
            try:
                self._steps[key] = self.apply(before, after, doc_mdp=doc_mdp)
            except (SuspiciousModification, PdfReadError):
                self._steps[key] = None
        return self._steps[key]


def _locked(found: DiffResult, locks: FieldMDPSpec | None) -> bool:
    return locks is not None and any(map(locks.is_locked, found.changed_form_fields))
