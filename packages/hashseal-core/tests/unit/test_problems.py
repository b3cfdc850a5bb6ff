"""The error tree and its table say the same."""

from __future__ import annotations

from collections.abc import Iterator

from hashseal_core import errors, problems


def tree(cls: type[errors.HashsealError]) -> Iterator[type[errors.HashsealError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__.startswith(errors.__name__):
            yield from tree(child)


def test_every_class_has_one_row() -> None:
    classes = {cls.code for cls in tree(errors.HashsealError)}
    assert sorted(problems.all_codes()) == sorted(classes)


def test_a_code_becomes_the_class_that_was_raised() -> None:
    for row in problems.TABLE:
        error = problems.error_from(row.code, "words", field="seal_id")
        assert type(error) is row.error
        assert (error.detail, error.field, str(error)) == ("words", "seal_id", "words")
        assert problems.problem_of(error) is row
        assert row.type == f"urn:hashseal:problem:{row.code}"


def test_unknown_codes_and_classes_are_internal() -> None:
    assert isinstance(problems.error_from("brand-new", "words"), errors.Internal)

    class Unlisted(errors.HashsealError):
        code = "unlisted"

    assert problems.problem_of(Unlisted("words")).code == "internal"
