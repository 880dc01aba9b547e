"""What DESIGN.md says of the code: imports go downward, plugins stand alone, the public is
documented.
"""

import ast
import pathlib
import subprocess
import sys

import pytest

from tests.toy import ROOT

# From the bottom up. A module imports only from rows above its own in this list, or from its own
# wing.
LAYERS = [
    ["errors", "lazy"],
    ["machine"],
    ["files"],
    ["settings"],
    ["console"],
    ["sources", "text"],
    ["backbones"],
    ["data"],
    ["heads"],
    ["run"],
    ["serve", "planning"],
    ["report"],
    ["vertex"],
    ["modes"],
    ["task"],
    ["podtune"],  # the public face, a package of its own
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SEPARATE = ("heads", "sources")  # packages whose modules do not know each other
CALLS_OF_CODE = (
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "yaml.load",
    "yaml.unsafe_load",
    "torch.load",
    "os.system",
)
PACKAGES = ("trainer", "podtune")
FILES = sorted(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in FILES
}


def imports(file: pathlib.Path) -> set[str]:
    """The modules of trainer and podtune that a file imports, at any place."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {
                (
                    f"{node.module}.{alias.name}"
                    if f"{node.module}.{alias.name}" in MODULES
                    else node.module
                )
                for alias in node.names
            }
    return {name for name in found if name and name.split(".")[0] in PACKAGES and name != "trainer"}


def part(module: str) -> str:
    package, *inner = module.split(".")
    return inner[0] if package == "trainer" else package


by_module = pytest.mark.parametrize("module", [name for name in MODULES if name != "trainer"])


def test_every_module_has_its_layer():
    assert {part(module) for module in MODULES if module != "trainer"} == set(LEVEL)


@by_module
def test_imports_go_downward(module):
    for imported in imports(MODULES[module]):
        assert imported in MODULES, imported
        own = part(imported) == part(module)
        assert own or LEVEL[part(imported)] < LEVEL[part(module)], f"{module} imports {imported}"


@by_module
def test_plugins_do_not_import_their_siblings(module):
    if part(module) in SEPARATE:
        for imported in imports(MODULES[module]):
            if part(imported) == part(module) and imported.count(".") > 1:
                name = imported.split(".")[2]
                own = module.split(".")[2:3] == [name]
                shared = own or name.startswith("_") or name == "contract"
                assert shared, f"{module} imports {imported}"


def test_the_proof_imports_nothing_of_the_trainer():
    assert imports(MODULES["trainer.serve.prove"]) == set()


def is_overload(node: ast.AST) -> bool:
    """Whether it only says types, of a function that is documented below."""
    return any(ast.unparse(name) == "overload" for name in getattr(node, "decorator_list", []))


@by_module
def test_what_is_public_is_documented(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), module
    kinds = (ast.FunctionDef, ast.ClassDef)
    for node in tree.body:
        for inner in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
            if (
                isinstance(inner, kinds)
                and not inner.name.startswith("_")
                and not node.name.startswith("_")
                and not is_overload(inner)
            ):
                assert ast.get_docstring(inner), f"{module}: {inner.name}"


def protocol_methods() -> set[str]:
    """The names of the methods that a protocol describes, for all who have them."""
    names = {"open", "make_head"}  # of a source, of a head: their package describes them
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                names |= {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


def public_functions(tree: ast.AST, *, of_protocol: bool = False):
    """Every public function and method, and whether a protocol has it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(
                node, of_protocol="Protocol" in map(ast.unparse, node.bases)
            )
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, of_protocol


def test_three_arguments_or_more_are_described():
    described = protocol_methods()
    bare = []
    for module, file in MODULES.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function, of_protocol in public_functions(tree):
            arguments = function.args
            names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            count = len([name for name in names if name.arg not in ("self", "cls")])
            here = function.name in described and not of_protocol
            docstring = ast.get_docstring(function) or ""
            described_there = "See `" in docstring or "see `" in docstring
            if count >= 3 and not here and "Args:" not in docstring and not described_there:
                bare.append(f"{module}.{function.name}")
    assert bare == []


def test_heads_and_sources_are_importable_without_tensorflow():
    program = """
import sys
from trainer import task
from trainer.settings import flags, resolve, sections
flags.help_text()
sections.json_schema()
HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "transformers", "tensorflow_text")
print([name for name in sys.modules if name.split(".")[0] in HEAVY])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_nothing_runs_code_from_data():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in CALLS_OF_CODE, f"{file}: {name}"
                asked = [
                    keyword
                    for keyword in node.keywords
                    if keyword.arg in ("trust_remote_code", "allow_pickle", "shell")
                ]
                assert all(ast.unparse(keyword.value) == "False" for keyword in asked), (
                    f"{file}: {name}"
                )
