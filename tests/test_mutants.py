"""The mistakes of `make mutants` can still be made: their code and their tests are where it says.

That the tests notice them takes a quarter of an hour: `make mutants`.
"""

import ast

import pytest

from scripts.mutants import MUTANTS
from tests.toy import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_can_be_made_and_has_its_tests(mutant):
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = ast.dump(ast.parse(mutant.applied(source)))
    assert changed != ast.dump(ast.parse(source))
    for test in mutant.tests:
        file, name = test.split("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")
