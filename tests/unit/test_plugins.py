"""What another package adds: a method, a data set and an encoder, each one file, by entry points or by its path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from msam_bench.config.run import parse_method

METHOD = '''
from msam import SAM, Method

class Toy(Method):
    """Joint training whose gradient is scaled."""

    family, paper = "balance", "Nobody 2030"
    search = {"factor": [0.1 * step for step in range(1, 8)]}
    variants = {"toy-half": {"factor": 0.5}}

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def backward(self, objective, inputs, target):
        return objective.accumulate_gradient(inputs, target, weight=self.factor).outcome()

class Child(SAM):
    """A method with its parent's space."""

NOTHING = 3
'''

DATA = """
import hashlib
from dataclasses import dataclass

from msam_bench.data import Dataset, Source, Split

@dataclass(frozen=True, kw_only=True)
class ToyData(Source):
    @property
    def fingerprint(self):
        return hashlib.sha256(b"toy").hexdigest()

    def load(self, seed):
        import torch
        draw = torch.Generator().manual_seed(seed)
        splits = {}
        for name, size in self.sizes().items():
            target = torch.arange(size) % 2
            inputs = {m: torch.randn(size, 3, generator=draw) + target[:, None] for m in self.modalities}
            splits[name] = Split(inputs, target)
        return Dataset(self.name, splits, self.classes, self.fingerprint)

    def sizes(self, seed=0):
        return {"train": 24, "valid": 12, "test": 12}

TOY = ToyData(name="toydata", summary="Two clouds.", modalities=("left", "right"), classes=("a", "b"),
              licence="CC0", citation="none", origin="drawn")
"""

ENCODER = """
from torch import nn

from msam_bench.encoders import encodes

@encodes("vector")
def linear(spec, features, scale=1.0):
    return nn.Sequential(nn.Linear(spec.shape[0], features), nn.Tanh())
"""

POINTS = """
[msam.methods]
toy = toykit.method:Toy
child = toykit.method:Child

[msam.datasets]
toydata = toykit.data:TOY

[msam.encoders]
linear = toykit.encoder:linear
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package: a folder of modules, and the metadata that an installer writes."""
    site = tmp_path / "site"
    files = {"__init__": "", "method": METHOD, "data": DATA, "encoder": ENCODER}
    for name, text in files.items():
        path = site / "toykit" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    info = site / "toykit-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toykit\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    return site


def python(code: str, folder: Path, *paths: Path) -> str:
    """What a fresh interpreter prints in a folder, or the last line of its error."""
    path = os.pathsep.join([*map(str, paths), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def test_a_registered_method_data_set_and_encoder_are_like_those_that_ship(package: Path, tmp_path: Path) -> None:
    code = """
import json
from pathlib import Path
from msam_bench.config.resolve import label_of, resolve
from msam_bench.config.search_space import listed
from msam_bench.data import names, registered, source
from msam_bench.encoders import encoders
from msam_bench.registry import methods, rivals
from msam_bench.runs import fit
from msam_bench.runs.choice import choose, refusal
config = resolve("toydata", "late", "toy:factor=0.5", epochs=2, batch_size=8, features=4,
                 encoders={"left": {"name": "linear", "params": {"scale": 2.0}}})
record = fit.run(config, Path("runs"))
other = config.method.model_copy(update={"name": "toy-half", "params": {}})
half = fit.run(config.model_copy(update={"method": other}), Path("runs"))
dataset = source("toydata").load(0)
chosen = choose("all", lambda name: refusal(resolve("toydata", "late", name), dataset)).methods
print(json.dumps({
    "methods": [name for name in ("toy", "toy-half", "child") if name in methods()],
    "first": list(methods())[0], "rivals": [name for name in rivals() if name.startswith(("toy", "child"))],
    "trials": [len(listed(name)) for name in ("toy", "toy-half", "child")],
    "child": methods()["child"].search["rho"][0],
    "chosen": [name for name in chosen if name.startswith("toy")], "data": names()[-1:],
    "encoder": "linear" in encoders(),
    "label": label_of(config), "status": record.status,
    "same": record.summary["test_loss"] == half.summary["test_loss"],
}))
"""
    assert json.loads(python(code, tmp_path, package)) == {
        "methods": ["toy", "toy-half", "child"],
        "first": "joint",
        "rivals": ["child", "toy", "toy-half"],
        "trials": [7, 7, 7],
        "child": 0.02,
        "chosen": ["toy", "toy-half"],
        "data": ["toydata"],
        "encoder": True,
        "label": "toy:factor=0.5",
        "status": "finished",
        "same": True,
    }


def test_plain_modules_of_the_working_directory_are_named_by_their_path(tmp_path: Path) -> None:
    for name, text in {"mymethod": METHOD, "mydata": DATA, "myencoder": ENCODER}.items():
        (tmp_path / f"{name}.py").write_text(text)
    command = ["train", "--data", "mydata:TOY", "--method", "mymethod:Toy:factor=0.5", "--epochs", "1"]
    out = python(f"from msam_bench.cli import main; main({command})", tmp_path)
    assert "runs/mydata-TOY-late-mymethod-Toy-factor=0.5-s0-" in out
    code = """
from pathlib import Path
from msam_bench.config.resolve import resolve
from msam_bench.runs import fit
print(fit.run(resolve("mydata:TOY", "late", "mymethod:Toy", epochs=1, encoders={"left": {"name": "myencoder:linear"}}),
              Path("runs")).status)
"""
    assert python(code, tmp_path) == "finished\n"


@pytest.mark.parametrize(
    ("points", "code", "words"),
    [
        (
            "[msam.methods]\nsam = toykit.method:Toy\n",
            "methods()",
            "Two methods are called 'sam', msam.",
        ),
        (
            "[msam.methods]\nx = toykit.method:NOTHING\n",
            "methods()",
            "Expected a subclass of msam.Method",
        ),
        ("[msam.methods]\nx = toykit.gone:Toy\n", "methods()", "Expected toykit.gone:Toy for the entry point 'x'"),
        ("[msam.datasets]\nx = toykit.method:NOTHING\n", "registered()", "Expected an msam_bench.data.Source"),
        ("[msam.encoders]\nmlp = toykit.encoder:linear\n", "encoders()", "Two encoders are called 'mlp'"),
    ],
)
def test_a_package_that_registers_what_cannot_be_is_named(
    package: Path, tmp_path: Path, points: str, code: str, words: str
) -> None:
    (package / "toykit-1.0.dist-info" / "entry_points.txt").write_text(points)
    imports = "from msam_bench.data import registered; from msam_bench.encoders import encoders"
    line = python(f"from msam_bench.registry import methods; {imports}; {code}", tmp_path, package)
    assert line.startswith(f"ValueError: {words}")


def test_a_class_in_a_plain_module_is_no_argument() -> None:
    assert parse_method("mine:Toy:factor=2").name == "mine:Toy"
    assert parse_method("mine:Toy:factor=2").params == {"factor": 2}
    with pytest.raises(ValueError, match="A method is written name:key=value"):
        parse_method("sam:rho")
