"""The settings that ship with the published data sets, and those in configs/: each makes a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from msam_bench.config.resolve import defaults, resolve
from msam_bench.config.run import check_encoders
from msam_bench.data import source
from msam_bench.encoders import encoders
from official import urfunny_multibench

ROOT = Path(__file__).parents[2]
PUBLISHED = ("av-digits", "avmnist", "cremad", "urfunny", "ave")
FILES = sorted(ROOT.glob("configs/*.toml"))


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_set_has_settings(name: str, fusion: str) -> None:
    config = resolve(name, fusion, "joint")
    check_encoders(config, source(name).modalities)
    if name != "av-digits":
        assert (config.epochs, config.batch_size, config.trunk) == (100, 64, (2048, 1024))
        chosen = config.optimizer
        assert (chosen.name, chosen.lr, chosen.momentum, chosen.weight_decay) == ("sgd", 1e-3, 0.9, 1e-4)
        assert (chosen.schedule, chosen.step_epochs) == ("step", 70)
        assert config.features == (768 if name == "urfunny" else 512)


def test_urfunnys_transformers_are_those_of_agm() -> None:
    config = resolve("urfunny", "early", "msam")
    assert config.hidden == 2048
    for name in source("urfunny").modalities:
        assert config.encoder(name).params == {"layers": 8, "heads": 4, "pool": "first", "positions": False}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_of_settings_makes_a_run(path: Path) -> None:
    name = path.stem.partition("-")[0]
    config = resolve(name, "early", "joint", path)
    check_encoders(config, source(name).modalities)
    assert config != resolve(name, "early", "joint")
    assert all(said.name in {None, *encoders()} for said in config.encoders.values())
    assert f"--config configs/{path.name}" in path.read_text()


def test_there_are_files_of_settings() -> None:
    assert {"avmnist-lenet", "urfunny-masam"} <= {path.stem for path in FILES}


def test_a_set_under_a_name_of_its_own_has_the_settings_of_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MSAM_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    files = urfunny_multibench(tmp_path / "files", (3, 2, 2))
    source("urfunny").prepare(files, folder=tmp_path / "data" / "other")  # type: ignore[attr-defined]
    for name in ("other", "data/other"):
        assert resolve(name, "late", "joint").features == 768
    assert defaults("nothing") == {}


def test_an_encoder_for_a_modality_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('[encoders.adio]\nname = "mlp"\n')
    config = resolve("cremad", "late", "joint", tmp_path / "run.toml")
    with pytest.raises(ValueError, match="cremad has no modality 'adio' for an encoder: write 'audio'"):
        check_encoders(config, source("cremad").modalities)
