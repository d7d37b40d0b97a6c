"""The notebook runs from its first cell to its last, with tiny settings."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "ich_detector.ipynb"
TINY = 'PHANTOMS, IMAGE_SIZE, FOLDS, MODELS, EPOCHS = 8, 32, 2, ["unet=2", "dunet=2"], 2'


def printed(cell: nbformat.NotebookNode) -> str:
    """What a cell has written as text."""
    return "".join(output.get("text", "") for output in cell.outputs)


def test_it_is_kept_without_outputs_and_says_what_it_is_for() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert "For research, not for diagnosis." in cells[0].source
    assert [cell.metadata.get("tags") for cell in cells].count(["parameters"]) == 1


@pytest.mark.slow
def test_notebook(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [cell for cell in notebook.cells if cell.metadata.get("tags") == ["parameters"]]
    settings.source += f"\n{TINY}\nWORK = {str(tmp_path)!r}"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [sum("image/png" in output.get("data", {}) for output in cell.outputs) for cell in cells]
    assert sum(pictures) >= 4  # phantoms, preview, paired_fig, overlay
    assert pictures[-1] == 1
    assert "report.html" in printed(cells[-2])
    assert (tmp_path / "reports" / "patient" / "report.html").exists()
