"""The table of planted mistakes fits the code: each replaces what stands there once, and names a test that there is."""

import ast
from pathlib import Path

import pytest

from scripts.mutation import Mutation
from scripts.mutation_test import ROOT, apply_mutation, main
from scripts.mutations import MUTATIONS


@pytest.mark.parametrize("mistake", MUTATIONS, ids=lambda each: each.name)
def test_a_mistake_stands_for_one_place_in_the_code_and_for_a_test(mistake: Mutation) -> None:
    path, _, name = mistake.test.partition("::")

    changed = apply_mutation((ROOT / mistake.file).read_text(encoding="utf-8"), mistake)
    if mistake.file.endswith(".py"):
        ast.parse(changed)
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_mistakes_have_names_of_their_own() -> None:
    assert len({each.name for each in MUTATIONS}) == len(MUTATIONS)


def test_words_that_choose_no_mistake_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["a mistake that nobody has made"])

    assert ended.value.code == 2
    assert "no mistake has such a name" in capsys.readouterr().err


def test_code_that_has_changed_is_told_by_the_name_of_its_mistake(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("a = 1\na = 1\n")

    with pytest.raises(ValueError, match=r"doubled: code\.py has 'a = 1' 2 times"):
        apply_mutation(file.read_text(), Mutation("doubled", "code.py", "a = 1", "a = 2", ""))
