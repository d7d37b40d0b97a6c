"""The fingerprint of a network's code: what changes it, and what does not."""

from pathlib import Path

import pytest

from ich.base import source

CODE = '''"""Networks."""
import keras

from helpers import block

DROPOUT = 0.2
OTHER = 1


def unet(size, channels, n):
    """A U-Net."""
    return _body(size, 0)


def dunet(size, channels, n):
    return _body(size, DROPOUT)  # with dropout


def _body(size, dropout):
    return block(size, dropout, act="relu")


def third(size, channels, n):
    return OTHER


MODELS = {"unet": unet, "dunet": dunet, "third": third}
'''


def prints(folder: Path, code: str = CODE, helper: str = "def block(*given): return given\n") -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "models.py").write_text(code, encoding="utf-8")
    (folder / "helpers.py").write_text(helper, encoding="utf-8")
    return {name: source.network_print(folder / "models.py", name) for name in ("unet", "dunet", "third")}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("DROPOUT = 0.2", "DROPOUT = 0.9", {"dunet"}),
        ('act="relu"', 'act="tanh"', {"unet", "dunet"}),  # a function that both use
        ("_body(size, 0)", "_body(size, 0.1)", {"unet"}),
        ("OTHER = 1", "OTHER = 2", {"third"}),
        ("from helpers", "from others", {"unet", "dunet"}),
        ('"unet": unet', '"unet": dunet', {"unet"}),  # the entry itself
        ('"third": third', '"third": third, "fourth": third', set()),  # one more network
        ("OTHER = 1", "OTHER = 1\nDROPOUT = 0.9", {"dunet"}),  # set twice
        ("  # with dropout", "", set()),
        ('"""A U-Net."""', '"""The same, explained otherwise."""', set()),
        ("return _body(size, DROPOUT)", "return _body(\n        size,\n        DROPOUT,\n    )", set()),
        ("import keras\n", "import keras\n\n\ndef unused():\n    return 3\n", set()),
    ],
)
def test_what_changes_which_network(tmp_path: Path, before: str, after: str, changed: set[str]) -> None:
    assert before in CODE
    old, new = prints(tmp_path), prints(tmp_path, CODE.replace(before, after))
    assert {name for name in old if old[name] != new[name]} == changed


def test_own_module_that_a_network_imports_belongs_to_it(tmp_path: Path) -> None:
    old, new = prints(tmp_path), prints(tmp_path, helper="def block(*given): return None\n")
    assert {name for name in old if old[name] != new[name]} == {"unet", "dunet"}
    assert prints(tmp_path, helper="# noted\ndef block(*given): return None\n") == new


def test_modules_that_an_own_module_imports_belong_too(tmp_path: Path) -> None:
    """models.py imports helpers.py, that imports deeper.py, and that helpers.py again."""
    found = []
    for value in (1, 2):
        (tmp_path / "deeper.py").write_text(f"import helpers\n\nVALUE = {value}\n", encoding="utf-8")
        found.append(prints(tmp_path, helper="from deeper import VALUE\n\n\ndef block(*given): return VALUE\n"))
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {"unet", "dunet"}


def test_star_import_belongs_to_every_network(tmp_path: Path) -> None:
    code = CODE.replace("from helpers import block", "from helpers import *")
    old, new = prints(tmp_path, code), prints(tmp_path, code, helper="def block(*given): return None\n")
    assert all(old[name] != new[name] for name in old)


def test_table_that_is_no_plain_dict_counts_as_a_whole(tmp_path: Path) -> None:
    code = CODE.partition("MODELS")[0] + "MODELS = dict(unet=unet, dunet=dunet)\n"
    old, new = prints(tmp_path, code), prints(tmp_path, code.replace("DROPOUT = 0.2", "DROPOUT = 0.9"))
    assert old["unet"] != new["unet"]  # any of them may be meant


def test_networks_of_this_project_differ() -> None:
    assert len({source.network_print(source.NETWORKS, name) for name in ("unet", "dunet")}) == 2
