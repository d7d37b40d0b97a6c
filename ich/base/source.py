"""A fingerprint of the code of one network: of all that its function uses, and of nothing else."""

import ast
from collections import defaultdict
from pathlib import Path

from ich.base import record
from ich.base.paths import ROOT

NETWORKS = ROOT / "models.py"
TABLE = "MODELS"  # the dict in it, network -> function
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def network_print(path: Path, name: str) -> str:
    """Changes with the code of network `name` in the file `path`, and what it uses: constants, functions, own modules.

    Comments, docstrings, layout and other networks do not matter. It is read, not imported, so Keras is not started.
    """
    statements = _by_name(ast.parse(path.read_bytes()))
    nodes = [_entry(statements[TABLE], name), *statements["*"]]
    for node in nodes:  # which grows meanwhile
        for used in ast.walk(node):
            if isinstance(used, ast.Name) and used.id != TABLE:
                nodes += [statement for statement in statements[used.id] if statement not in nodes]
    modules: dict[Path, ast.Module] = {}
    for node in nodes:
        _add_own_modules(node, path.parent, modules)
    return record.fingerprint(*sorted(map(_plain, [*nodes, *modules.values()])))


def _by_name(tree: ast.Module) -> dict[str, list[ast.AST]]:
    """The statements of a file that give a name its meaning."""
    statements: defaultdict[str, list[ast.AST]] = defaultdict(list)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names = {statement.name}
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names = {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
        else:
            stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
            names = {node.id for node in stored if isinstance(node.ctx, ast.Store)}
        for name in names:
            statements[name].append(statement)
    return statements


def _entry(tables: list[ast.AST], name: str) -> ast.AST:
    """What MODELS holds for a network; all of MODELS where it is not written as a plain dict."""
    for table in tables:
        for node in ast.walk(table):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == name:
                        return value
    return ast.Module(body=tables, type_ignores=[])


def _add_own_modules(node: ast.AST, folder: Path, modules: dict[Path, ast.Module]) -> None:
    """Add the files of the project that the import statements in `node` name, and those that these import."""
    for statement in ast.walk(node):
        names = []
        if isinstance(statement, ast.ImportFrom) and statement.module:
            names = [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
        elif isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        for name in names:
            file = folder.joinpath(*name.split(".")).with_suffix(".py")
            if file.is_file() and file not in modules:
                modules[file] = ast.parse(file.read_bytes())
                _add_own_modules(modules[file], folder, modules)


def _plain(node: ast.AST) -> str:
    """Source text without comments, docstrings and layout."""
    for part in ast.walk(node):
        if isinstance(part, DOCUMENTED) and ast.get_docstring(part) is not None:
            part.body = part.body[1:] or [ast.Pass()]
    return ast.unparse(node)
