"""A fingerprint of the code of one network: of all that its function uses, and of nothing else."""

import ast
from pathlib import Path

from ich.base import record
from ich.base.paths import ROOT

NETWORKS = ROOT / "models.py"
TABLE = "MODELS"  # the dict in it, network -> function


def network_print(path: Path, name: str) -> str:
    """Changes with the code of network `name` in the file `path`, and what it uses: constants, functions, own modules.

    Comments, docstrings, layout and other networks do not matter. It is read, not imported, so Keras is not started.
    """
    statements = _by_name(ast.parse(path.read_bytes()))
    todo, seen = [_entry(statements.get(TABLE, []), name), *statements.get("*", [])], []
    while todo:
        node = todo.pop()
        seen.append(node)
        for used in ast.walk(node):
            if isinstance(used, ast.Name) and used.id != TABLE:
                todo += [found for found in statements.get(used.id, []) if found not in seen and found not in todo]
    modules: dict[Path, ast.Module] = {}
    for node in seen:
        _add_own_modules(node, path.parent, modules)
    return record.fingerprint(*sorted(map(_plain, [*seen, *modules.values()])))


def _by_name(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """The statements of a file that give a name its meaning."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names = {statement.name}
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names = {(each.asname or each.name).partition(".")[0] for each in statement.names}
        else:
            names = {each.id for each in ast.walk(statement)
                     if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}  # fmt: skip
        for name in names:
            found.setdefault(name, []).append(statement)
    return found


def _entry(tables: list[ast.stmt], name: str) -> ast.AST:
    """What MODELS holds for a network; all of MODELS where it is not written as a plain dict."""
    for table in tables:
        for each in ast.walk(table):
            if isinstance(each, ast.Dict):
                for key, value in zip(each.keys, each.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == name:
                        return value
    return ast.Module(body=tables, type_ignores=[])


def _add_own_modules(node: ast.AST, folder: Path, found: dict[Path, ast.Module]) -> None:
    """Add the files of the project that the import statements in `node` name, and those that these import."""
    for statement in ast.walk(node):
        if isinstance(statement, ast.ImportFrom):
            names = [statement.module or "", *(f"{statement.module}.{each.name}" for each in statement.names)]
        else:
            names = [each.name for each in statement.names] if isinstance(statement, ast.Import) else []
        for name in filter(None, names):
            file = folder.joinpath(*name.split(".")).with_suffix(".py")
            if file.is_file() and file not in found:
                found[file] = ast.parse(file.read_bytes())
                _add_own_modules(found[file], folder, found)


def _plain(node: ast.AST) -> str:
    """Source text without comments, docstrings and layout."""
    for each in ast.walk(node):
        body = getattr(each, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[:1] = [] if len(body) > 1 else [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(node))


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
