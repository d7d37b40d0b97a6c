"""The fingerprint of a network's code: what changes it, and what does not."""

from pathlib import Path

import pytest

from ich import source

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


def test_table_that_is_no_plain_dict_counts_as_a_whole(tmp_path: Path) -> None:
    code = CODE.partition("MODELS")[0] + "MODELS = dict(unet=unet, dunet=dunet)\n"
    old, new = prints(tmp_path, code), prints(tmp_path, code.replace("DROPOUT = 0.2", "DROPOUT = 0.9"))
    assert old["unet"] != new["unet"]  # any of them may be meant


def test_networks_of_this_project_differ() -> None:
    assert len({source.network_print(source.NETWORKS, name) for name in ("unet", "dunet")}) == 2
