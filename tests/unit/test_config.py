"""Configurations: one description of a run, and one sentence for each mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from msam import MSAM, Method
from msam_bench.config.resolve import label_of, resolve, tuned
from msam_bench.config.run import MethodConfig, RunConfig, parse_method, validated
from msam_bench.registry import build, methods

WIDTHS = {"fou": 8, "fac": 8}


def test_a_method_is_read_as_it_is_written() -> None:
    parsed = parse_method("msam:rho=0.1:scope=encoder:every=2:adaptive=true")
    assert parsed == MethodConfig(name="msam", params={"rho": 0.1, "scope": "encoder", "every": 2, "adaptive": True})
    assert parsed.text({}) == "msam:rho=0.1:scope=encoder:every=2:adaptive=true"
    assert parsed.text({"rho": 0.1, "every": 2}) == "msam:scope=encoder:adaptive=true"
    assert parse_method("my.module:Own:rho=1") == MethodConfig(name="my.module:Own", params={"rho": 1})
    assert parse_method(parsed.text({})) == parsed


@pytest.mark.parametrize("text", ["sam:rho", "sam:=1", "sam:rho="])
def test_a_badly_written_argument_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="A method is written name:key=value"):
        parse_method(text)


def test_what_is_given_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("epochs = 7\nbatch_size = 9\n[optimizer]\nlr = 0.3\n")
    config = resolve("digits6", "late", "joint", file, epochs=5, momentum=0.5)
    assert (config.epochs, config.batch_size, config.optimizer.lr, config.optimizer.momentum) == (5, 9, 0.3, 0.5)
    assert resolve("digits6", "late", "joint", optimizer="adam").optimizer.name == "adam"


def test_tuned_arguments_are_filled_in_and_left_out_of_the_label() -> None:
    assert resolve("digits6", "late", "sam").method.params == tuned("digits6", "late", "sam")
    assert label_of(resolve("digits6", "late", "sam")) == "sam"
    assert label_of(resolve("digits6", "late", "sam:rho=0.123")) == "sam:rho=0.123"


def test_identity_is_of_everything_that_decides_the_numbers() -> None:
    base = resolve("digits6", "late", "sam")
    assert base.identity == resolve("digits6", "late", "sam").identity
    others = [
        resolve("digits6", "late", "sam", seed=1),
        resolve("digits6", "early", "sam"),
        resolve("digits6", "late", "gnp"),
    ]
    assert len({base.identity, *(other.identity for other in others)}) == 4
    assert resolve("digits6", "late", "sam", snapshots=2).identity == base.identity


def test_a_resolved_configuration_survives_the_record() -> None:
    config = resolve("smartwatch", "early", "msam:rho=0.1", seed=3, lr=0.01)
    assert validated(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epoch": 3}, "Unknown setting 'epoch': write 'epochs'"),
        ({"optimizer": {"learning": 0.1}}, "Unknown setting 'optimizer.learning'"),
        ({"epochs": 0}, "Setting 'epochs': input should be greater than or equal to 1, found 0."),
        ({"optimizer": {"lr": -1}}, "Setting 'optimizer.lr': input should be greater than 0, found -1."),
        ({"fusion": "middle"}, "Setting 'fusion': input should be 'late', 'early', 'sum'"),
        ({"epochs": "many"}, "Setting 'epochs'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        validated(change)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("epochs = = 3")
    with pytest.raises(ValueError, match="Expected a TOML file"):
        resolve("digits6", "late", "joint", tmp_path / "x.toml")
    with pytest.raises(ValueError, match="Expected a TOML file"):
        resolve("digits6", "late", "joint", tmp_path / "absent.toml")


@pytest.mark.parametrize("name", methods())
def test_every_method_of_the_catalogue_can_be_built(name: str) -> None:
    params = {"unimodal": {"modality": "fou"}, "pdmp": {"leader": "fou"}}.get(name, {})
    assert isinstance(build(MethodConfig(name=name, params=params), WIDTHS, 10), Method)


def test_attribution_arguments_reach_the_attribution() -> None:
    method = build(parse_method("msam:attribution.value=loss:attribution.every=4:rho=0.3"), WIDTHS, 10)
    assert isinstance(method, MSAM)
    assert (method.attribution.value, method.attribution.every, method.rho) == ("loss", 4, 0.3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("msamm", "Unknown method 'msamm': write 'msam'"),
        ("xyz", "Unknown method 'xyz': choose one of joint"),
        ("sam:rh=1", "Method 'sam' has no argument 'rh': write 'rho'"),
        ("sam:rho=-1", "rho must be a number of at least 0, found -1"),
        ("sam:rho=big", "rho must be a number of at least 0, found 'big'"),
        ("gnp:alpha=2", "alpha must be a number of at least 0 and at most 1, found 2"),
        ("msam:scope=all", "scope must be one of"),
        ("msam:attribution.values=loss", "Method \"msam's attribution\" has no argument 'values': write 'value'"),
        ("unimodal", "Method 'unimodal' cannot be made"),
        ("no.such:Thing", "Expected a method class at 'no.such:Thing'"),
    ],
)
def test_a_wrong_method_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")) as caught:
        build(parse_method(text), WIDTHS, 10)
    assert "\n" not in str(caught.value)


def test_a_run_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().epochs = 3
