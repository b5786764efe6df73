"""The project's own rules: who imports whom, who may change a model, and that its papers agree with its code.

A rule reads one parsed module and yields a sentence for each line that breaks it. The rules are run over `src/`, and
each is shown small sources that break it and that keep it.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

ENGINES = {
    "msam.integrations.lightning": {"lightning", "lightning_fabric"},
    "msam.integrations.accelerate": {"accelerate"},
    "msam.integrations.transformers": {"transformers"},
}
TALKERS = (
    "msam_bench.runs.fit",
    "msam_bench.runs.assembly",
    "msam_bench.runs.machine",
    "msam_bench.cli",
    "msam_bench.__main__",
)
LONGEST_BODY = 40


# ---- reading sources -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` has the target `a.b.c`."""

    target: str
    line: int
    typing_only: bool

    @property
    def root(self) -> str:
        return self.target.partition(".")[0]


@dataclass(frozen=True)
class Module:
    """A parsed file of `src/`."""

    name: str
    tree: ast.Module
    is_package: bool = False
    known: frozenset[str] = field(default=frozenset(), compare=False)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def calls(self) -> list[ast.Call]:
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def imports(self) -> list[Import]:
        guarded = {id(inner) for block in self.nodes if _checks_types(block) for inner in _inside(block)}
        return [
            Import(target, node.lineno, id(node) in guarded)  # type: ignore[attr-defined]
            for node in self.nodes
            for target in self._targets(node)
        ]

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Local name -> what it was imported as (`np` -> `numpy`)."""
        found = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {alias.asname: alias.name for alias in node.names if alias.asname}
            elif isinstance(node, ast.ImportFrom):
                found |= {alias.asname or alias.name: f"{self._base(node)}.{alias.name}" for alias in node.names}
        return found

    def dotted(self, node: ast.AST) -> str:
        """`torch.cuda.is_available` for that expression, through aliases; `?...` where it starts with a value."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        head = self.aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"
        return ".".join([head, *reversed(parts)])

    def resolve(self, target: str) -> str | None:
        """The module of `src/` that an import target lies in."""
        while target and target not in self.known:
            target = target.rpartition(".")[0]
        return target or None

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])

    def _targets(self, node: ast.AST) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            return [f"{self._base(node)}.{alias.name}" for alias in node.names]
        return []


def _checks_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _inside(block: ast.AST) -> Iterator[ast.AST]:
    assert isinstance(block, ast.If)
    for statement in block.body:
        yield from ast.walk(statement)


def parse(name: str, source: str, known: Iterable[str] = (), is_package: bool = False) -> Module:
    return Module(name, ast.parse(source), is_package, frozenset({name, *known}))


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_sources() -> list[Module]:
    paths = sorted(SRC.rglob("*.py"))
    known = [module_name(path) for path in paths]
    return [parse(module_name(p), p.read_text(encoding="utf-8"), known, p.name == "__init__.py") for p in paths]


# ---- rules -----------------------------------------------------------------------------------------------------------

Rule = Callable[[Module], Iterator[tuple[int, str]]]


def in_library(module: Module) -> bool:
    return module.name.partition(".")[0] == "msam"


def talks(module: Module) -> bool:
    return any(module.name == name or module.name.startswith(f"{name}.") for name in TALKERS)


def library_needs_torch_only(module: Module) -> Iterator[tuple[int, str]]:
    """`msam` imports torch and the standard library; an integration also its engine; annotations also jaxtyping."""
    if not in_library(module):
        return
    allowed = sys.stdlib_module_names | {"torch", "msam"} | ENGINES.get(module.name, set())
    for found in module.imports:
        if found.root not in allowed | ({"jaxtyping", "typing_extensions"} if found.typing_only else set()):
            yield found.line, f"imports {found.target}; the library needs torch and the standard library only"


_STATE = {"grad", "data", "requires_grad", "training", "_buffers", "_parameters"}
_CHANGERS = {"train", "eval", "zero_grad", "requires_grad_"}
_RANDOM_STATE = {"set_rng_state", "set_rng_state_all", "fork_rng", "setstate", "set_state"}


def only_model_state_changes_a_model(module: Module) -> Iterator[tuple[int, str]]:
    """In `msam`, only `model_state.py` changes gradients, weights, flags, buffers, hooks or random state.

    An integration may hand a call on to its engine: a Trainer's `super().train()` is no model's.
    """
    if not in_library(module) or module.name == "msam.model_state":
        return
    for node in module.nodes:
        if module.name in ENGINES and isinstance(node, ast.Call) and ast.unparse(node.func) == "super().train":
            continue
        for what in (*_written(node), *_changed(node)):
            yield node.lineno, f"{what}; only model_state.py changes a model"  # type: ignore[attr-defined]


def _written(node: ast.AST) -> Iterator[str]:
    targets: list[ast.AST] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For):
        targets = [node.target] if getattr(node, "value", True) else []
    elif isinstance(node, ast.Attribute) and node.attr == "data" and ast.unparse(node.value) != "self":
        yield f"touches {ast.unparse(node)}"
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
        elif isinstance(target, ast.Subscript | ast.Starred):
            targets.append(target.value)
        elif isinstance(target, ast.Attribute) and target.attr in _STATE:
            yield f"writes {ast.unparse(target)}"


def _changed(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = _last(node.func)
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    changes = owner is not None and (name in _CHANGERS or ("register" in name and "hook" in name))
    within = name.endswith("_") and isinstance(owner, ast.Attribute) and owner.attr == "grad"
    if changes or within or name in _RANDOM_STATE:
        yield f"calls {ast.unparse(node.func)}"
    elif name in {"setattr", "__setattr__"} and any(_text(argument) in _STATE for argument in node.args):
        yield f"calls {ast.unparse(node)}"


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def in_objective(module: Module) -> bool:
    return module.name == "msam.objective" or module.name.startswith("msam.objective.")


_DERIVATIVES = {"torch.autograd.grad", "torch.autograd.backward"} | {
    f"torch.func.{name}"
    for name in ("grad", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "hessian", "linearize")
}


def only_the_objective_differentiates(module: Module) -> Iterator[tuple[int, str]]:
    """Only `msam.objective` back-propagates. `method.backward(objective, inputs, target)` is no back-propagation."""
    if in_objective(module):
        return
    for found in module.imports:
        if found.target in _DERIVATIVES:
            yield found.line, f"imports {found.target}; only msam.objective differentiates"
    for call in module.calls:
        plain = len(call.args) < 2 and not any(isinstance(argument, ast.Starred) for argument in call.args)
        if (_last(call.func) == "backward" and isinstance(call.func, ast.Attribute) and plain) or (
            module.dotted(call.func) in _DERIVATIVES
        ):
            yield call.lineno, f"calls {ast.unparse(call.func)}; only msam.objective differentiates"


def only_the_objective_calls_the_model(module: Module) -> Iterator[tuple[int, str]]:
    """In `msam`, a `model(...)` or `self.model(...)` stands in `msam.objective`."""
    if not in_library(module) or in_objective(module):
        return
    for call in module.calls:
        if _last(call.func) in {"model", "module"}:
            yield call.lineno, f"calls {ast.unparse(call.func)}; only msam.objective calls the model"


_SEEDERS = {
    "torch.manual_seed",
    "torch.seed",
    "torch.random.manual_seed",
    "torch.random.seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "random.seed",
    "numpy.random.seed",
}


def only_the_bench_front_seeds(module: Module) -> Iterator[tuple[int, str]]:
    """Only `fit.py` and `cli` seed the shared streams; a generator of one's own is free."""
    if talks(module):
        return
    for call in module.calls:
        if module.dotted(call.func) in _SEEDERS or _last(call.func) == "seed_everything":
            yield call.lineno, f"calls {ast.unparse(call.func)}; only fit.py and cli seed"


_DEVICE_CHOICES = {
    "torch.set_default_device",
    "torch.cuda.set_device",
    "torch.cuda.is_available",
    "torch.accelerator.is_available",
    "torch.accelerator.current_accelerator",
    "torch.backends.mps.is_available",
}


def only_the_bench_front_chooses_a_device(module: Module) -> Iterator[tuple[int, str]]:
    """Only `fit.py` and `cli` name an accelerator or ask whether there is one."""
    if talks(module):
        return
    for call in module.calls:
        name = module.dotted(call.func)
        keywords = [
            keyword.value for keyword in call.keywords if keyword.arg in {"device", "accelerator", "map_location"}
        ]
        named = keywords + (call.args[:1] if name == "torch.device" or name.endswith(".to") else [])
        moved = isinstance(call.func, ast.Attribute) and call.func.attr == "cuda"
        if name in _DEVICE_CHOICES or moved or any(_text(value) not in {None, "cpu", "meta"} for value in named):
            yield call.lineno, f"calls {ast.unparse(call)}; only fit.py and cli choose a device"


def only_the_bench_front_prints(module: Module) -> Iterator[tuple[int, str]]:
    """Only `fit.py` and `cli` write to the terminal; a console with a file of its own is free."""
    if talks(module):
        return
    for call in module.calls:
        name = module.dotted(call.func)
        console = name == "rich.console.Console" and not any(keyword.arg == "file" for keyword in call.keywords)
        if name in {"print", "rich.print", "sys.stdout.write", "sys.stderr.write"} or console:
            yield call.lineno, f"calls {ast.unparse(call.func)}; only fit.py and cli print"


def functions_are_short(module: Module) -> Iterator[tuple[int, str]]:
    """A function's body, docstring apart, has at most `LONGEST_BODY` lines."""
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
            if length > LONGEST_BODY:
                yield node.lineno, f"{node.name} has {length} lines; split it, {LONGEST_BODY} are the most"


RULES: list[Rule] = [
    library_needs_torch_only,
    only_model_state_changes_a_model,
    only_the_objective_differentiates,
    only_the_objective_calls_the_model,
    only_the_bench_front_seeds,
    only_the_bench_front_chooses_a_device,
    only_the_bench_front_prints,
    functions_are_short,
]


def broken(rule: Rule, module: Module) -> list[str]:
    return [f"{module.name}:{line} {sentence}" for line, sentence in rule(module)]


# ---- the sources keep the rules --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources() -> list[Module]:
    return read_sources()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep(rule: Rule, sources: list[Module]) -> None:
    found = [sentence for module in sources for sentence in broken(rule, module)]
    assert not found, "\n".join(found)


def test_all_sources_are_seen(sources: list[Module]) -> None:
    assert {"msam", "msam.objective", "msam.methods.msam", "msam_bench", "msam_bench.runs.fit"} <= {
        m.name for m in sources
    }


# ---- each rule can fail ----------------------------------------------------------------------------------------------

KNOWN = ["msam", "msam.types", "msam.integrations.lightning", "msam.methods", "msam.method", "msam.methods.sam"]

BREAKS: list[tuple[Rule, str, str]] = [
    (library_needs_torch_only, "msam.metrics", "import numpy as np"),
    (library_needs_torch_only, "msam.metrics", "def f():\n    from scipy import stats"),
    (library_needs_torch_only, "msam.metrics", "from msam_bench import runs"),
    (library_needs_torch_only, "msam.metrics", "from jaxtyping import Float"),
    (library_needs_torch_only, "msam.metrics", "import lightning"),
    (library_needs_torch_only, "msam.integrations.accelerate", "import lightning"),
    (library_needs_torch_only, "msam.metrics", "if not TYPE_CHECKING:\n    import jaxtyping"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.grad = None"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.grad += g"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.grad[0] = 1"),
    (only_model_state_changes_a_model, "msam.methods.sam", "a, (b, w.grad) = pair"),
    (only_model_state_changes_a_model, "msam.methods.sam", "del w.grad"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.grad.mul_(2)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.data.copy_(v)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.data = v"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.requires_grad = False"),
    (only_model_state_changes_a_model, "msam.methods.sam", "w.requires_grad_(False)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "setattr(w, 'grad', None)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "m.eval()"),
    (only_model_state_changes_a_model, "msam.methods.sam", "super().train()"),
    (only_model_state_changes_a_model, "msam.integrations.transformers", "model.train()"),
    (only_model_state_changes_a_model, "msam.methods.sam", "m.train(False)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "m.training = True"),
    (only_model_state_changes_a_model, "msam.methods.sam", "m._buffers['mean'] = b"),
    (only_model_state_changes_a_model, "msam.methods.sam", "m.register_forward_hook(f)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "t.register_post_accumulate_grad_hook(f)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "torch.set_rng_state(s)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "with torch.random.fork_rng():\n    pass"),
    (only_model_state_changes_a_model, "msam.methods.sam", "optimizer.zero_grad()"),
    (only_the_objective_differentiates, "msam.methods.sam", "loss.backward()"),
    (only_the_objective_differentiates, "msam.methods.sam", "loss.backward(retain_graph=True)"),
    (only_the_objective_differentiates, "msam.objectives", "loss.backward()"),
    (only_the_objective_differentiates, "msam_bench.runs.fit", "loss.backward(g)"),
    (only_the_objective_differentiates, "msam.sharpness", "torch.autograd.grad(loss, weights)"),
    (only_the_objective_differentiates, "msam.sharpness", "from torch import autograd\nautograd.grad(loss, weights)"),
    (only_the_objective_differentiates, "msam.sharpness", "from torch.autograd import grad"),
    (only_the_objective_differentiates, "msam.sharpness", "from torch.func import jvp"),
    (only_the_objective_differentiates, "msam.sharpness", "import torch\ntorch.func.hessian(f)"),
    (only_the_objective_calls_the_model, "msam.methods.sam", "logits = model(inputs)"),
    (only_the_objective_calls_the_model, "msam.objectives", "logits = model(inputs)"),
    (only_the_objective_calls_the_model, "msam.methods.sam", "logits = objective.model(inputs)"),
    (only_the_bench_front_seeds, "msam.attribution", "torch.manual_seed(0)"),
    (only_the_bench_front_seeds, "msam.attribution", "import numpy as np\nnp.random.seed(0)"),
    (only_the_bench_front_seeds, "msam_bench.runs.record", "from random import seed\nseed(0)"),
    (only_the_bench_front_seeds, "msam_bench.runs.record", "L.seed_everything(0)"),
    (only_the_bench_front_chooses_a_device, "msam.attribution", "x.to('cuda')"),
    (only_the_bench_front_chooses_a_device, "msam.attribution", "x.cuda()"),
    (only_the_bench_front_chooses_a_device, "msam_bench.runs.record", "torch.device('cuda:0')"),
    (only_the_bench_front_chooses_a_device, "msam_bench.runs.record", "torch.zeros(2, device='mps')"),
    (only_the_bench_front_chooses_a_device, "msam_bench.runs.record", "torch.cuda.is_available()"),
    (only_the_bench_front_prints, "msam.methods.sam", "print(1)"),
    (only_the_bench_front_prints, "msam_bench.reporting.report", "import rich\nrich.print(1)"),
    (only_the_bench_front_prints, "msam_bench.reporting.report", "import sys\nsys.stdout.write('1')"),
    (only_the_bench_front_prints, "msam_bench.reporting.report", "from rich.console import Console\nConsole()"),
    (functions_are_short, "msam_bench.reporting.report", "def f():\n" + "    x = 1\n" * (LONGEST_BODY + 1)),
]

KEEPS: list[tuple[Rule, str, str]] = [
    (
        library_needs_torch_only,
        "msam.metrics",
        "import torch.nn as nn\nfrom math import log\nfrom .types import Inputs",
    ),
    (library_needs_torch_only, "msam.metrics", "if TYPE_CHECKING:\n    from jaxtyping import Float"),
    (library_needs_torch_only, "msam.integrations.lightning", "import lightning"),
    (library_needs_torch_only, "msam_bench.runs.fit", "import safetensors, numpy"),
    (only_model_state_changes_a_model, "msam.model_state", "w.grad = None"),
    (only_model_state_changes_a_model, "msam.integrations.transformers", "super().train(True)"),
    (only_model_state_changes_a_model, "msam.methods.sam", "g = w.grad.clone()\nif w.requires_grad:\n    pass"),
    (only_model_state_changes_a_model, "msam.methods.sam", "self.grads: list[Tensor]\nself.trained = 1"),
    (only_model_state_changes_a_model, "msam_bench.runs.fit", "model.train()"),
    (only_the_objective_differentiates, "msam.objective.compute_gradients", "loss.backward()"),
    (only_the_objective_differentiates, "msam.method", "self.method.backward(self.objective, inputs, target)"),
    (only_the_objective_differentiates, "msam.method", "super().backward(*arguments)"),
    (only_the_objective_calls_the_model, "msam.objective.forward", "self.model(inputs)"),
    (only_the_bench_front_seeds, "msam.attribution", "torch.Generator().manual_seed(0)"),
    (only_the_bench_front_seeds, "msam_bench.runs.fit", "torch.manual_seed(0)"),
    (only_the_bench_front_chooses_a_device, "msam.attribution", "x.to(y.device).to(torch.float32).to('cpu')"),
    (only_the_bench_front_chooses_a_device, "msam_bench.runs.fit", "torch.cuda.is_available()"),
    (only_the_bench_front_prints, "msam_bench.cli", "print(1)"),
    (
        only_the_bench_front_prints,
        "msam_bench.reporting.report",
        "from rich.console import Console\nConsole(file=buffer)",
    ),
    (functions_are_short, "msam_bench.reporting.report", "def f():\n    'Says.'\n" + "    x = 1\n" * LONGEST_BODY),
]


def cases(table: list[tuple[Rule, str, str]]) -> list[object]:
    return [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}-{row[2][:40]!r}") for row in table]


@pytest.mark.parametrize(("rule", "name", "source"), cases(BREAKS))
def test_rule_sees(rule: Rule, name: str, source: str) -> None:
    assert broken(rule, parse(name, source, KNOWN))


@pytest.mark.parametrize(("rule", "name", "source"), cases(KEEPS))
def test_rule_allows(rule: Rule, name: str, source: str) -> None:
    assert broken(rule, parse(name, source, KNOWN)) == []


def test_every_rule_is_shown_to_fail_and_to_hold() -> None:
    assert {row[0] for row in BREAKS} == {row[0] for row in KEEPS} == set(RULES)


# ---- what `import msam` brings ---------------------------------------------------------------------------------------

_IMPORT = """
import json, sys
import torch
before = set(sys.modules)
import msam
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def torch_and_its_dependencies() -> set[str]:
    """Top-level modules of torch and everything that it requires."""
    wanted, seen = ["torch"], set()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name not in seen:
            seen.add(name)
            wanted += _required(name)
    provided = metadata.packages_distributions().items()
    return {top for top, names in provided if any(re.sub(r"[-_.]+", "-", n).lower() in seen for n in names)}


def _required(name: str) -> list[str]:
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line]


def test_import_brings_torch_and_the_standard_library_only() -> None:
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    brought = set(json.loads(done.stdout))
    assert "msam" in brought
    assert brought - {"msam"} - sys.stdlib_module_names - torch_and_its_dependencies() == set()


def test_public_names_are_listed_and_sorted() -> None:
    import msam

    public = {
        name
        for name, value in vars(msam).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert msam.__all__ == sorted(msam.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert set(msam.__all__) == public


def test_every_method_is_public_and_documented() -> None:
    import msam

    methods = [name for name in msam.__all__ if is_method(getattr(msam, name))]
    classes = {node.name for module in read_sources() for node in module.nodes if defines_method(module, node)}
    assert set(methods) == classes
    assert {name for name in methods if not (ROOT / f"docs/methods/{name.lower()}.md").exists()} == set()


def is_method(value: object) -> bool:
    import msam

    return isinstance(value, type) and issubclass(value, msam.Method) and value is not msam.Method


def defines_method(module: Module, node: ast.AST) -> bool:
    """Whether a class at hand is a concrete method: in `msam.methods`, public, with a base class that is one."""
    own = module.name.startswith("msam.methods.")
    if not own or not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
        return False
    local = {inner.name for inner in module.nodes if isinstance(inner, ast.ClassDef) and inner is not node}
    kinds = {"Method", "LossMethod", "AscentMethod"}
    return any(_last(base) in kinds or _last(base) in local for base in node.bases)


# ---- the project's papers agree with its code ------------------------------------------------------------------------


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return tomllib.loads(text("pyproject.toml"))["project"]


def test_version_is_one(project: dict[str, object]) -> None:
    import msam

    assert msam.__version__ == project["version"]
    assert f"## [{project['version']}]" in text("CHANGELOG.md")
    assert f"\nversion: {project['version']}\n" in text("CITATION.cff")


def pins() -> dict[str, str]:
    lines = [line for line in text("requirements/constraints.txt").splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.!+-]+", line)] == []
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}


def test_torch_is_the_pinned_one() -> None:
    assert torch.__version__.partition("+")[0] == pins()["torch"]


def test_every_direct_dependency_is_pinned(project: dict[str, object]) -> None:
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    direct = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]  # type: ignore[misc]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line)[0]).lower() for line in direct}
    assert names - set(pins()) == {"msam"}  # the extra `all` names the others


def test_commands_of_the_papers_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text("README.md") + text("CONTRIBUTING.md"), flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_verbs_of_the_readme_exist() -> None:
    verbs = set(re.findall(r"`msam ([a-z]+)", text("README.md")))
    environment = os.environ | {"PYTHONPATH": str(SRC), "COLUMNS": "200"}
    command = [sys.executable, "-m", "msam_bench", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"compare", "train", "report", "runs", "data"} <= verbs
    assert {verb for verb in verbs if not re.search(rf"\b{verb}\b", done.stdout)} == set()


def test_example_of_adding_a_method_is_what_the_files_say() -> None:
    (diff,) = re.findall(r"```diff\n(.*?)```", text("CONTRIBUTING.md"), flags=re.DOTALL)
    files = dict(part.split("\n", 1) for part in re.split(r"^\+\+\+ ", diff, flags=re.MULTILINE)[1:])
    added = {path: [line.removeprefix("+") for line in lines.splitlines()] for path, lines in files.items()}
    assert added.pop("src/msam/methods/gnp.py") == text("src/msam/methods/gnp.py").splitlines()
    assert len(added) == 2
    assert [line for path, lines in added.items() for line in lines if line not in text(path).splitlines()] == []


def test_links_between_the_papers_lead_somewhere() -> None:
    papers = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(paper, link) for paper in papers for link in links_of(paper.read_text(encoding="utf-8"))]
    assert [f"{paper.name}: {link}" for paper, link in links if not (paper.parent / link).exists()] == []


def links_of(paper: str) -> list[str]:
    """Relative links of a page, code left out."""
    prose = re.sub(r"`[^`]*`", "", re.sub(r"```.*?```", "", paper, flags=re.DOTALL))
    return re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", prose)


def test_links_are_seen() -> None:
    assert links_of("[a](b.md#c) `x[m](y)` [d](https://e.f)\n```\n[g](h)\n```") == ["b.md"]


def test_code_of_the_readme_runs_as_printed() -> None:
    loop, build = re.findall(r"```python\n(.*?)```", text("README.md"), flags=re.DOTALL)
    names: dict[str, object] = {"audio_net": nn.Linear(3, 64), "image_net": nn.Linear(4, 512)}
    exec(build, names)
    model = names["model"]
    assert isinstance(model, nn.Module)
    names["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.1)
    target = torch.arange(12) % 6
    inputs = {"audio": torch.randn(12, 3), "image": torch.randn(12, 4)}
    names["loader"] = [(inputs, target)] * 20
    before = F.cross_entropy(model(inputs), target).item()
    exec(loop, names)
    assert F.cross_entropy(model(inputs), target).item() < before
    assert {"contributions/audio", "dominant", "share", "sharpness"} <= set(names["outcome"].notes)  # type: ignore[attr-defined]
