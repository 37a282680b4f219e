"""The list of lines that are broken on purpose fits the worker; what `make mutants` says of one or two."""

import re

import pytest

from mutants.catalogue import Mutant, mutants
from scripts import REPOSITORY, WORKER

TESTS = REPOSITORY / "tests"


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_worker(mutant: Mutant) -> None:
    """Its line stands once in the worker, what it becomes is Python, and the tests that notice are there."""
    before = mutant.place(WORKER).read_text(encoding="utf-8")
    assert mutant.changed(before) != before
    for test in mutant.tests:
        file, _, name = test.partition("::")
        found = (TESTS / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {name.partition('[')[0]}\(", found, re.MULTILINE), test


def test_names_are_unique() -> None:
    """A name picks one mutant."""
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
