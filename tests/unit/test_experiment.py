"""An experiment of the user's own: the same numbers, resumed runs, and refusals before training."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from msam import MSAM, SAM, LateFusion, Shapley
from msam_bench import Experiment
from msam_bench.data.problems.identity import name_of, sources_of
from msam_bench.data.problems.samples import Loading, UserSplit
from msam_bench.data.problems.streams import Streams
from msam_bench.experiment.methods import text_of
from msam_bench.runs.record import RunRecord
from msam_bench.training.distributed import ProcessGroup

CLASSES = 3
NUMBER = count()


class Pairs(Dataset[Any]):
    """Two vectors, of which the first tells the class better."""

    def __init__(self, samples: int, seed: int, noise: float = 0.0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.target = torch.randint(CLASSES, (samples,), generator=draw)
        centres = torch.randn(2, CLASSES, 5, generator=torch.Generator().manual_seed(0))
        self.a = centres[0][self.target] + torch.randn(samples, 5, generator=draw)
        self.b = centres[1][self.target] + 2 * torch.randn(samples, 5, generator=draw)
        self.noise = noise

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, row: int) -> dict[str, Any]:
        noise = self.noise * torch.randn(5) if self.noise else 0
        return {"inputs": {"a": self.a[row] + noise, "b": self.b[row]}, "label": self.target[row]}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = {"a": 8, "b": 4}
        self.encoders = nn.ModuleDict({m: nn.Sequential(nn.Linear(5, n), nn.ReLU()) for m, n in sizes.items()})
        self.late, self.drop = LateFusion(sizes, CLASSES), nn.Dropout(0.2)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.drop(self.late(features))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encode(inputs[name]) for name, encode in self.encoders.items()})


class Closed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(8, CLASSES)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, None]:
        return self.head(torch.cat([self.left(a), self.right(b)], 1).relu()), None


def datasets(seed: int) -> dict[str, Any]:
    return {name: Pairs(size, 10 * seed + n) for n, (name, size) in enumerate(SIZES.items())}


SIZES = {"train": 60, "valid": 30, "test": 40}


def loaders(seed: int, noise: float = 0.0) -> dict[str, Any]:
    sets = {name: Pairs(size, 10 * seed + n, noise) for n, (name, size) in enumerate(SIZES.items())}
    return {name: DataLoader(each, 16, shuffle=name == "train") for name, each in sets.items()}


def unpack(batch: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
    return batch["inputs"], batch["label"]


def adam(parameters: list[nn.Parameter], lr: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr)


def experiment(**changes: Any) -> Experiment:
    given: dict[str, Any] = {"data": datasets, "model": Net, "unpack": unpack, "optimizer": adam, "epochs": 3}
    return Experiment(**{**given, **changes})


def train(tmp_path: Path, method: str = "joint", seed: int = 0, settings: Any = None, **changes: Any) -> RunRecord:
    runs = tmp_path / str(next(NUMBER))
    return experiment(**changes).train(method, seed, runs=runs, **(settings or {})).record


# ---- it trains, and the numbers are those of a loop written by hand --------------------------------------------------


def test_numbers_are_those_of_a_loop_written_by_hand(tmp_path: Path) -> None:
    record = train(tmp_path, batch_size=16)
    torch.manual_seed(0)
    model = Net()
    optimizer, data = adam(list(model.parameters())), datasets(0)
    whole = {name: ({"a": each.a, "b": each.b}, each.target) for name, each in data.items()}
    accuracies = []
    for epoch in range(3):
        model.train()
        order = torch.randperm(60, generator=torch.Generator().manual_seed(epoch)).split(16)
        for rows in order:
            inputs, target = whole["train"]
            F.cross_entropy(model({name: x[rows] for name, x in inputs.items()}), target[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            accuracies.append(float((model(whole["valid"][0]).argmax(1) == whole["valid"][1]).double().mean()))
    assert [row["valid_accuracy"] for row in record.metrics] == pytest.approx(accuracies, abs=1e-12)


def test_digits6_as_own_problem_ends_in_the_numbers_of_the_bench(tmp_path: Path) -> None:
    from msam_bench.config.resolve import resolve
    from msam_bench.data import source
    from msam_bench.encoders import encoder
    from msam_bench.runs.fit import run

    class Rows(Dataset[Any]):
        def __init__(self, split: Any) -> None:
            self.split = split

        def __len__(self) -> int:
            return len(self.split)

        def __getitem__(self, row: int) -> Any:
            inputs, target = self.split.take(torch.tensor([row]))
            return {name: tensor[0] for name, tensor in inputs.items()}, target[0]

    def model() -> nn.Module:
        from msam import FusionModel

        data = source("digits6").load(0)
        encoders = {name: encoder(spec, 64) for name, spec in data.modality_specs.items()}
        return FusionModel(encoders, LateFusion(dict.fromkeys(encoders, 64), 10))

    def data(seed: int) -> dict[str, Any]:
        return {name: Rows(split) for name, split in source("digits6").load(seed).splits.items()}

    built_in = run(resolve("digits6", "late", "msam:rho=0.05", epochs=2, lr=0.1, batch_size=32), tmp_path / "bench")
    settings = {"lr": 0.1, "weight_decay": built_in.config["optimizer"]["weight_decay"]}
    own = Experiment(data=data, model=model, epochs=2, batch_size=32, optimizer="sgd", settings=settings)
    record = own.train("msam:rho=0.05", runs=tmp_path / "own").record
    assert record.config["optimizer"] | {"schedule": ""} == built_in.config["optimizer"] | {"schedule": ""}
    first, second = ({**each.metrics[0], "seconds": 0} for each in (built_in, record))
    assert first == second


def test_workers_load_the_same_batches(tmp_path: Path) -> None:
    here, workers = train(tmp_path, batch_size=16), train(tmp_path, batch_size=16, loader_workers=1)
    files = [(record.folder / "best.ckpt").read_bytes() for record in (here, workers)]
    assert files[0] == files[1]
    assert [row["train_loss"] for row in here.metrics] == [row["train_loss"] for row in workers.metrics]
    assert workers.config["loader_workers"] == 1
    assert here.folder.name != workers.folder.name


# ---- data ------------------------------------------------------------------------------------------------------------


def test_data_streams_are_apart_from_those_of_training() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    streams = Streams(1)
    with streams:
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
    with streams:
        assert not torch.equal(torch.rand(2), first)
    with Streams(1):
        assert torch.equal(torch.rand(2), first)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_of_a_loader_is_the_same_whenever_it_is_begun(workers: int) -> None:
    dataset = Pairs(20, 0, noise=1.0)
    loader = DataLoader(dataset, 8, shuffle=True, num_workers=workers, generator=torch.Generator())
    batches = UserSplit.of(loader, unpack, "train", Loading()).batches(3, 8, ProcessGroup())
    first, second = ([inputs["a"] for inputs, _ in batches.shuffled(epoch)] for epoch in (2, 3))
    torch.rand(7)
    again = [inputs["a"] for inputs, _ in batches.shuffled(2)]
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], second[0])


def test_methods_that_draw_differently_see_the_same_batches() -> None:
    def drawn(draws: int) -> list[Tensor]:
        batches = UserSplit.of(loaders(0, 1.0)["train"], unpack, "train", Loading()).batches(0, 8, ProcessGroup())
        seen = []
        for inputs, _ in batches.shuffled(0):
            torch.rand(draws)
            seen.append(inputs["a"])
        return seen

    assert all(map(torch.equal, drawn(1), drawn(1000)))


def test_streams_of_batches_train(tmp_path: Path) -> None:
    class Stream(IterableDataset[Any]):
        def __init__(self, name: str, size: int) -> None:
            self.rows = Pairs(size, len(name))

        def __iter__(self) -> Iterator[Any]:
            return (self.rows[row] for row in range(len(self.rows)))

    def data(seed: int) -> dict[str, Any]:
        return {name: DataLoader(Stream(name, size), 10) for name, size in SIZES.items()}

    record = train(tmp_path, "msam", data=data)
    assert record.data["sizes"] == SIZES
    assert record.summary["gradients"] == 2 * 3 * 6


# ---- resumed ---------------------------------------------------------------------------------------------------------


def test_a_stopped_run_continues_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from msam_bench.runs import fit

    def noisy(seed: int) -> dict[str, Any]:
        return loaders(seed, 0.5)

    whole = train(tmp_path, "msam", data=noisy)
    runs, own = tmp_path / "stopped", experiment(data=noisy)
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fit.run, "__defaults__", (*fit.run.__defaults__[:-1], 0.0))
    train_epoch = fit.ResumableRun._keep_row

    def stops(run: Any, epoch: Any) -> None:
        if epoch.number == 3 and not (tmp_path / "was").exists():
            (tmp_path / "was").touch()
            raise KeyboardInterrupt
        train_epoch(run, epoch)

    monkeypatch.setattr(fit.ResumableRun, "_keep_row", stops)
    with pytest.raises(KeyboardInterrupt):
        own.train("msam", runs=runs)
    torch.rand(11)
    record = own.train("msam", runs=runs).record
    assert record.summary == whole.summary
    assert (record.folder / "best.ckpt").read_bytes() == (whole.folder / "best.ckpt").read_bytes()


def test_early_stopping_stops_and_is_found_again(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    own = experiment(epochs=200, early_stopping=3, metrics=["macro_f1"])
    record = own.train("joint", runs=runs).record
    merits = [row["valid_macro-f1"] for row in record.metrics]
    assert len(merits) < 200
    assert len(merits) - record.summary["epoch"] == 3
    assert merits[record.summary["epoch"] - 1] == max(merits)
    assert record.summary["test_metrics"].keys() == {"macro-f1"}
    assert own.train("joint", runs=runs).record.timing == record.timing


# ---- identity --------------------------------------------------------------------------------------------------------


MODULE = """
    from {place} import Net, adam, datasets, unpack
    from msam_bench import Experiment

    EPOCHS = 2
    def data(seed):
        return datasets(seed)
    def optimizer(parameters, lr=0.01):
        return adam(parameters, lr)
    own = Experiment(data=data, model=Net, unpack=unpack, optimizer=optimizer, epochs=EPOCHS)
    def made():
        return Experiment(data=data, model=Net, unpack=unpack, epochs=EPOCHS, optimizer="adam")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a module of a user's, which processes can import, and gives its name."""
    place = f"parts_{next(NUMBER)}"
    head = Path(__file__).read_text()
    (tmp_path / f"{place}.py").write_text(head[: head.index("# ---- it trains")])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def write(text: str = MODULE) -> str:
        name = f"users_{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text).format(place=place))
        return name

    return write


def test_an_experiment_is_known_by_its_name_and_its_code(module: Callable[..., str]) -> None:
    name = module()
    users = __import__(name)
    location, importable = name_of(users.own)
    assert (location, importable) == (f"{name}:own", True)
    sources = sources_of(users.own)
    assert set(sources) == {name, users.Net.__module__}
    Path(f"{name}.py").write_text("# changed\n")
    assert sources_of(users.own)[name] != sources[name]


def test_experiments_without_a_name_are_known_by_what_their_functions_do() -> None:
    def of(width: int) -> Experiment:
        return experiment(model=lambda: nn.Linear(width, width))

    names = [name_of(of(width))[0] for width in (1, 2, 1)]
    assert names[0] == names[2] != names[1]
    assert not name_of(of(1))[1]


def test_changed_code_is_another_run_and_is_refused_where_the_old_one_is_continued(module: Callable[..., str]) -> None:
    from msam_bench.config.resolve import resolve
    from msam_bench.data.problems.source import problem_of

    name = module()
    config = resolve(f"{name}:own", "late", "joint")
    path = Path(f"{name}.py")
    path.write_text(path.read_text() + "\n# another\n")
    assert resolve(f"{name}:own", "late", "joint").identity != config.identity
    with pytest.raises(ValueError, match=f"code of {name}:own has changed since this run was planned"):
        problem_of(config)


def test_processes_train_what_the_command_compares(module: Callable[..., str], capsys: Any) -> None:
    from msam_bench.cli import main

    name = module()
    found = __import__(name).own.compare("joint,sam:rho=0.05", seeds=2, workers=2, tune="none")
    assert len(found.records) == 2 * 2 + 2 * 2  # and each modality apart
    before = {record.folder: record.timing for record in found.records}
    options = ["--tune", "none", "--methods", "joint,sam:rho=0.05", "--seeds", "2", "--workers", "1"]
    with pytest.raises(SystemExit, match="0"):
        main(["compare", "--experiment", f"{name}:own", *options])
    shown = capsys.readouterr().out
    assert found.verdict.partition("\n")[0][:40] in shown
    from msam_bench.runs.record import records

    assert {record.folder.resolve(): record.timing for record in records([Path("runs")])}.items() >= {
        folder.resolve(): timing for folder, timing in before.items()
    }.items()
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--experiment", f"{name}:made", "--method", "msam"])
    assert "test accuracy" in capsys.readouterr().out


# ---- what it gives ---------------------------------------------------------------------------------------------------


def test_results_are_frames_sentences_and_a_page(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    found = experiment(metrics=["macro_f1", "nll"]).compare(
        ["joint", SAM(rho=0.05)], seeds=2, first_seed=1, tune="none", runs=tmp_path / "runs"
    )
    assert list(found.frame["method"])[:4] == ["joint", "sam"] * 2
    assert set(found.frame["method"][4:]) == {"unimodal:modality=a", "unimodal:modality=b"}
    assert set(found.frame["seed"]) == {1, 2}
    assert {"test_macro-f1", "valid_nll", "test_accuracy", "gradients", "seconds"} <= set(found.frame.columns)
    assert list(found.table.index)[:2] == ["joint", "sam"]
    assert found.verdict
    assert "<table>" in found._repr_html_()
    assert found.report(tmp_path / "page").read_text().startswith("<!")


def test_a_trained_model_is_the_users_own_with_the_selected_weights(tmp_path: Path) -> None:
    own = experiment(model=Closed, encoders={"a": "left", "b": "right"}, call=lambda model, x: model(x["a"], x["b"])[0])
    trained = own.train("msam-encoder", runs=tmp_path / "runs")
    model = trained.model().eval()
    assert isinstance(model, Closed)
    test = datasets(0)["test"]
    logits = model(test.a, test.b)[0]
    accuracy = float((logits.argmax(1) == test.target).double().mean())
    assert trained.summary["test_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert own.evaluate(trained)["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    other = Pairs(50, 99)
    right = float((model(other.a, other.b)[0].argmax(1) == other.target).double().mean())
    assert own.evaluate(trained, other)["accuracy"] == pytest.approx(right, abs=1e-12)


def test_diagnosis_and_flatness_answer(tmp_path: Path) -> None:
    own, runs = experiment(), tmp_path / "runs"
    diagnosis = own.diagnose(seeds=2, runs=runs)
    assert diagnosis.verdict
    flat = own.flatness("joint,sam", seeds=2, runs=runs, options={"samples": 16, "points": 3})
    assert flat.verdict
    assert flat.report(tmp_path / "page").is_file()


def test_sweep_finds_the_default_learning_rate_of_a_function(tmp_path: Path) -> None:
    trials = experiment().sweep(
        "joint,sam", trials=2, seeds=1, runs=tmp_path / "runs", study=tmp_path / "trials.sqlite"
    )
    assert {name: len(each) for name, each in trials.items()} == {"joint": 2, "sam": 2}


def test_methods_are_written_as_text() -> None:
    assert text_of(SAM(rho=0.2)) == "sam:rho=0.2"
    assert text_of(MSAM(rho=0.1, attribution=Shapley(momentum=0.9))) == "msam:rho=0.1:attribution.momentum=0.9"


# ---- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "16"])
@pytest.mark.parametrize("method", ["joint", "msam"])
def test_reduced_precision_trains_on_the_cpu(tmp_path: Path, precision: str, method: str) -> None:
    full, half = train(tmp_path, method), train(tmp_path, method, precision=precision)
    assert half.environment["precision"] == precision
    assert half.environment["device"] == "cpu"
    losses = [[row["train_loss"] for row in record.metrics] for record in (full, half)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)  # eight bits of mantissa, some dozens of steps


def test_accumulation_and_clipping_are_applied(tmp_path: Path) -> None:
    sgd = {"optimizer": "sgd", "settings": {"lr": 1.0, "weight_decay": 0.0}, "batch_size": 20, "epochs": 1}
    still = train(tmp_path, clip=1e-9, **sgd)
    torch.manual_seed(0)
    start = Net().state_dict()
    from msam_bench.training.checkpoint import load

    moved = load(still.folder / "best.ckpt")["model"]
    assert all(torch.allclose(moved[name], start[name], atol=1e-8 * 3) for name in start)
    assert train(tmp_path, accumulate=3, **sgd).summary["valid_loss"] != train(tmp_path, **sgd).summary["valid_loss"]


# ---- refused before anything is trained ------------------------------------------------------------------------------


def refused(match: str, **changes: Any) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        experiment(**changes).train(changes.pop("method", "joint"), runs="never")
    assert not Path("never").exists()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_refused() -> None:
    refused("Expected the device cuda, found 0 CUDA devices", device="cuda")


def no_label(batch: Any) -> Any:
    return batch["inputs"], batch["class"]


def tensors_only(seed: int) -> dict[str, Any]:
    return {name: TensorDataset(torch.rand(9, 5), torch.rand(9, 5), torch.zeros(9).long()) for name in SIZES}


class Nothing(Net):
    def forward(self, inputs: Any) -> Any:
        return {"logits": super().forward(inputs)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unpack": None}, "Expected batches of 'train' as .inputs by modality, target"),
        ({"unpack": no_label}, "unpack failed on a batch of 'train': KeyError: 'class'"),
        ({"unpack": None, "data": tensors_only}, "found list of 3|found tuple of 3"),
        ({"data": lambda seed: {"train": Pairs(9, 0)}}, "give train, valid and test, found train"),
        (
            {"data": lambda seed: dict.fromkeys(SIZES, 3)},
            "Expected a torch Dataset or DataLoader as 'train', found int",
        ),
        ({"model": Nothing}, "model must return a tensor of logits, found dict"),
        ({"model": lambda: 3}, "model must give a torch.nn.Module, found int"),
        ({"model": Closed}, "failed on a batch|trial batch"),
        ({"metrics": ["rmse"]}, "metric 'rmse' is of values, but the target has classes"),
        ({"metrics": ["macro-f2"]}, "Unknown metric 'macro-f2': write 'macro-f1'"),
        ({"criterion": lambda logits, target: logits}, "criterion must return a scalar mean"),
        ({"criterion": lambda x, y: F.nll_loss(x, y.float())}, "loss failed on a batch of a .8, 5., b .8, 5., target"),
        ({"schedule": lambda optimizer: None}, "schedule must give a scheduler with step.., found NoneType"),
        ({"encoders": {"a": "nowhere"}}, "encoders names submodules of the model"),
        ({"optimizer": lambda parameters: None}, "optimizer must give a torch optimizer, found NoneType"),
    ],
)
def test_a_wrong_form_is_refused_in_one_sentence(changes: dict[str, Any], words: str) -> None:
    refused(words, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": 3}, "data must be the name of a data set or a function"),
        ({"model": None}, "Data of your own need a model of your own"),
        ({"model": nn.Linear(2, 2), "criterion": 3}, "criterion must be a function, found int"),
    ],
)
def test_a_wrong_part_is_refused_when_it_is_given(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        experiment(**changes)


def test_a_method_that_does_not_suit_the_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a model with `encoders`"):
        experiment(model=Closed, call=lambda model, x: model(x["a"], x["b"])[0]).compare(
            "joint,msam-encoder", seeds=2, runs=tmp_path / "never"
        )
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("location", ["nowhere:own", "json:dumps", "json:nothing"])
def test_a_wrong_experiment_is_refused(location: str, capsys: Any) -> None:
    from msam_bench.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["compare", "--experiment", location])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("msam: Expected an")
    assert len(error.strip().splitlines()) == 1


def test_import_of_the_bench_stays_light() -> None:
    import subprocess

    text = "import sys, msam_bench, msam_bench.cli; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
