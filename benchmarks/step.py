"""What one training step costs: every method beside SGD, other packages' SAM, and M-SAM to the letter.

    make bench                                              # two ResNet-18, and the growth with the modalities
    make bench ARGS="--full"                                # all models, early fusion, half precision, compiled
    python benchmarks/step.py --families "six MLPs" --rounds 31

Times are CPU seconds of this process on one thread, in turn within each round; ratios are to SGD in the same round,
with their quartiles (`--unit SAM`: to SAM). `SGD again` is SGD under another name: how far it lies from 1 is the noise
of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import peers
import torch
import torch.nn.functional as F
from models import CLASSES, FAMILIES, Family, mlps, towers

from msam import AGM, CGGM, MASAM, MSAM, OGMGE, SAM, Joint, Method, MMPareto, Objective, Shapley
from msam_bench.studies.instruments.step_costs import Step, StepCost, measure, training_step

EVERY = 6
"""How often the cheap form of M-SAM makes its second pass."""
PARTS = ("steps", "interval", "shapley")
COUNTS = (2, 3, 4, 8, 16, 32)
TOWERS = 32
"""More towers than this are not built."""
BFLOAT16: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
"""Whether the processor has it; otherwise torch works it out in software."""
HEAVY = ("two ResNet-18",)
"""Where a step takes half a minute in software."""
HEADER = f"{'':28}{'CPU ms':>10}{'ratio':>8}  {'quartiles':14}{'wall ms':>10}{'peak MiB':>10}"


@dataclass(frozen=True)
class Setting:
    """What is timed on: a kind of model and how it is run."""

    family: str
    fusion: str = "late"
    compiled: bool = False
    half: bool = False
    batch: int | None = None

    @property
    def name(self) -> str:
        """As a heading."""
        parts = [self.family, f"{self.fusion} fusion", f"batch {self.batch or FAMILIES[self.family].batch}"]
        return ", ".join([*parts, *["compiled"] * self.compiled, *["bfloat16 autocast"] * self.half])

    def context(self) -> AbstractContextManager[Any]:
        """Around each forward pass."""
        return torch.autocast("cpu", torch.bfloat16) if self.half else nullcontext()


def methods(family: Family) -> dict[str, Callable[[], Method]]:
    """Ours, by name."""
    sizes: dict[str, Any] = {"widths": dict.fromkeys(family.looks, family.features), "classes": CLASSES}
    scopes = ("loss", "encoder", "encoder+head", "shapley")
    return {
        "Joint": Joint,
        "SAM": SAM,
        **{f"M-SAM {scope}": partial(MSAM, scope=scope) for scope in scopes},  # type: ignore[arg-type]
        "M-SAM loss, part=0.5": partial(MSAM, part=0.5),
        "M-SAM loss, low_precision": partial(MSAM, low_precision=True),
        "M-SAM encoder, part=0.5": partial(MSAM, scope="encoder", part=0.5),
        "OGM-GE": partial(OGMGE, extension="pairwise-mean"),
        "AGM": AGM,
        "CGGM": partial(CGGM, **sizes),
        "MMPareto": partial(MMPareto, **sizes),
        "MASAM": partial(MASAM, **sizes),
    }


def steps(setting: Setting) -> dict[str, Step]:
    """Everything that can be run in a setting, on one model, by name."""
    family = FAMILIES[setting.family]
    bare, batch = family.model(setting.fusion), family.data(setting.batch)
    model: Any = torch.compile(bare) if setting.compiled else bare
    plain = peers.sgd(model, batch, setting.context)
    found = {"SGD": plain, "SGD again": plain}
    shared = torch.optim.SGD(bare.parameters(), **peers.SGD)
    for name, make in methods(family).items():
        if name.endswith("low_precision") and not affordable(setting.family):
            print(f"{name} is left out: this processor has no bfloat16.")
            continue
        method = make()
        own = list(method.parameters())
        optimizer = torch.optim.SGD([*bare.parameters(), *own], **peers.SGD) if own else shared
        try:
            found[name] = training_step(method, model, optimizer, batch, context=setting.context)
        except ValueError as refusal:
            print(f"{name} is left out: {refusal}")
    others = {"SAM, pytorch_optimizer": peers.packaged_sam, "SAM, two-step": peers.two_step_sam}
    if setting.compiled:
        print("M-SAM to the letter is left out: it walks a graph twice, and compiled ones can be walked once.")
    else:
        others["M-SAM to the letter"] = peers.literal_msam
    return found | {name: make(model, batch, setting.context) for name, make in others.items()}


def affordable(family: str) -> bool:
    """Whether half precision can be timed here."""
    return BFLOAT16 or family not in HEAVY


def chosen(made: dict[str, Step], names: list[str] | None, first: str) -> dict[str, Step]:
    """The steps of these names, after the one that they are measured in."""
    return {first: made[first]} | {name: step for name, step in made.items() if names is None or name in names}


def intervals(setting: Setting) -> dict[str, Step]:
    """So many batches in a row that M-SAM's interval form makes its second pass once."""
    family = FAMILIES[setting.family]
    model, batch = family.model(setting.fusion), family.data(setting.batch)
    optimizer = torch.optim.SGD(model.parameters(), **peers.SGD)
    each = {
        "SGD": peers.sgd(model, batch),
        f"M-SAM loss, every={EVERY}": training_step(MSAM(every=EVERY), model, optimizer, batch),
    }
    return {name: partial(_repeat, step, EVERY) for name, step in each.items()}


def attribution(family: Family, fusion: str) -> dict[str, Step]:
    """A step of SGD, and the Shapley values that M-SAM takes on the features of one."""
    model, (inputs, target) = family.model(fusion), family.data()
    objective, shapley = Objective(model, F.cross_entropy), Shapley()
    features = objective.forward(inputs, target).detached().features
    return {"SGD": peers.sgd(model, (inputs, target)), "Shapley": lambda: shapley(objective, inputs, target, features)}


def _repeat(step: Step, times: int) -> None:
    for _ in range(times):
        step()


def table(title: str, costs: dict[str, StepCost]) -> None:
    """Prints one measurement."""
    print(f"\n{title}\n{HEADER}")
    for name, cost in costs.items():
        spread = f"{cost.low:.3f}-{cost.high:.3f}"
        print(
            f"{name:28}{1e3 * cost.seconds:10.2f}{cost.ratio:8.3f}  {spread:14}"
            f"{1e3 * cost.wall:10.1f}{cost.memory / 2**20:10.1f}",
            flush=True,
        )


def settings(names: list[str], full: bool, batch: int | None) -> Iterator[Setting]:
    """The settings of a run."""
    for name in names:
        yield Setting(name, batch=batch)
        if full:
            yield Setting(name, "early", batch=batch)
            yield Setting(name, compiled=True, batch=batch)
            yield Setting(name, batch=2 * (batch or FAMILIES[name].batch))
            if affordable(name):
                yield Setting(name, half=True, batch=batch)
            else:
                print(f"Half precision is left out for {name}: this processor has no bfloat16.")


def environment() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "threads": torch.get_num_threads(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="all models and settings; more than an hour")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), help="which models")
    parser.add_argument("--only", nargs="+", help="which steps, by the names in the table")
    parser.add_argument("--unit", default="SGD", help="the step that ratios are to, by its name in the table")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="which tables")
    parser.add_argument("--batch", type=int, help="samples in a batch, in place of the models' own number")
    parser.add_argument("--rounds", type=int, default=7, help="how often each step is timed")
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS, help="numbers of modalities")
    parser.add_argument("--json", type=Path, default=Path("reports/step.json"), help="where the numbers are written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, StepCost]] = {}

    def note(title: str, made: dict[str, Step], rounds: int, memory: bool = True) -> None:
        found[title] = measure(made, rounds, memory=memory)
        table(title, found[title])

    names = options.families or (list(FAMILIES) if options.full else ["two ResNet-18"])
    for setting in settings(names, options.full, options.batch):
        if "steps" in options.parts:
            note(setting.name, chosen(steps(setting), options.only, options.unit), options.rounds)
        if "interval" in options.parts and not (setting.compiled or setting.half):
            note(f"{setting.name}, {EVERY} batches", intervals(setting), options.rounds, False)
    for fusion in ("late", "early") if options.full else ("late",):
        for count in options.counts if "shapley" in options.parts else ():
            title = f"Shapley values, {fusion} fusion, batch 64, {count}"
            note(f"{title} MLPs", attribution(mlps(count), fusion), 5 * options.rounds, False)
            if count <= TOWERS:
                note(f"{title} ResNet-18 of half width", attribution(towers(count), fusion), options.rounds, False)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    costs = {title: {name: asdict(cost) for name, cost in row.items()} for title, row in found.items()}
    options.json.write_text(json.dumps({"environment": environment(), "costs": costs}, indent=1) + "\n")
    print(f"\nWritten to {options.json}.")


if __name__ == "__main__":
    main()
