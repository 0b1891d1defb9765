"""The notebook of the documentation runs from top to bottom on a real version."""

import os
import sys

import nbformat
from nbclient import NotebookClient

from tests.paths import ROOT


def run(dataset) -> str:
    """What its cells print about a dataset."""
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    environment = os.environ | {"AQAA_DATASET": str(dataset), "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT / "docs")}})
    client.create_kernel_manager()
    client.km.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_it_shows_turns_and_a_sample_of_each_family(small_build):
    printed = run(small_build.dataset)
    assert printed.startswith(f"small {small_build.version.name}")
    assert "'used':" in printed
    for family in ("continuation", "asr", "tts"):
        assert f"\n{family} " in printed


def test_it_is_committed_without_outputs():
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
