"""Methods of methods on the command line: how they are written, built, recorded and searched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from msam import AGM, MBSD, MSAM, SAM, Auxiliary, FeatureDropout, FusionModel, LateFusion
from msam_bench.config.run import RunConfig, parse_method
from msam_bench.config.search_space import listed, ranges
from msam_bench.registry import build
from msam_bench.training.loop import Loop

WIDTHS = {"audio": 6, "image": 5}


def made(text: str) -> object:
    return build(parse_method(text), WIDTHS, 4)


def test_arguments_go_to_the_method_that_they_belong_to() -> None:
    method = made("msam:rho=0.3:scope=modalities:radius=gap:of=mbsd:of.weight=3:of_part=fused")
    assert isinstance(method, MSAM)
    assert (method.rho, method.scope, method.radius, method.of_part) == (0.3, "modalities", "gap", "fused")
    assert isinstance(method.of, MBSD)
    assert (method.of.weight, set(method.of.heads)) == (3, set(WIDTHS))


def test_methods_of_methods_of_methods_and_joint() -> None:
    method = made("sam:of=feature-dropout:of.rate=0.4:of.of=auxiliary:of.of.weight=0.5")
    assert isinstance(method, SAM)
    assert isinstance(method.of, FeatureDropout)
    assert isinstance(method.of.of, Auxiliary)
    assert (method.of.rate, method.of.of.weight) == (0.4, 0.5)
    assert made("sam:of=joint").of is None  # type: ignore[attr-defined]


def test_a_base_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ownbase.py").write_text("from msam import AGM\n\n\nclass Mine(AGM):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    method = made("msam:of=ownbase:Mine:of.alpha=2:rho=0.4")
    assert isinstance(method, MSAM)
    assert isinstance(method.of, AGM)
    assert (type(method.of).__name__, method.of.alpha, method.rho) == ("Mine", 2, 0.4)


def test_a_record_gives_back_the_text() -> None:
    text = "msam:rho=0.3:of=mbsd:of.weight=3"
    config = RunConfig(method=parse_method(text))
    again = RunConfig.model_validate_json(config.model_dump_json())
    assert again.method.text({}) == text
    assert again.identity == config.identity
    assert config.identity != RunConfig(method=parse_method("msam:rho=0.3:of=mbsd:of.weight=2")).identity


def test_the_search_of_both_without_what_is_given() -> None:
    assert listed("sam:of=mbsd")[0] == {"rho": 0.02, "of.weight": 0.1}
    assert set(ranges("sam:of=mbsd:of.weight=3")) == {"rho"}
    assert set(ranges("msam:scope=modalities:of=joint")) == {"rho"}
    with pytest.raises(ValueError, match="nothing to search for 'sam:rho"):
        listed("sam:rho=0.1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("msam:of.weight=3", "names none; write for example msam:of=mbsd:of.weight=3"),
        ("esam:of=mbsd", "has no argument 'of'"),
        ("msam:of=mbds", "Unknown method 'mbds'"),
        ("msam:of=mbsd:of.wieght=3", "Method 'mbsd' has no argument 'wieght'"),
        ("msam:of=sam", "climb from the end of another climb"),
        ("sam:of=mses", "puts stopped modalities back"),
        ("feature-dropout:of=agm", "minimises a loss"),
    ],
)
def test_mistakes_are_said_in_a_sentence(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        made(text)


def test_the_loop_tells_methods_how_far_training_is() -> None:
    told: list[tuple[float, float]] = []

    class Told(SAM):
        def progress(self, done: float, rate: float) -> None:
            told.append((done, rate))

    model = FusionModel({"a": torch.nn.Linear(2, 2)}, LateFusion({"a": 2}, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loop = Loop(
        model,
        Told(0.1).on(model, F.cross_entropy),
        optimizer,
        lambda epoch: [({"a": torch.ones(3, 2)}, torch.tensor([0, 1, 1]))],
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1),
        progress=lambda epoch: epoch / 4,
    )
    assert len(list(loop.epochs(4))) == 4
    assert told == [(0.0, 1.0), (0.25, 1.0), (0.5, pytest.approx(0.1)), (0.75, pytest.approx(0.1))]
