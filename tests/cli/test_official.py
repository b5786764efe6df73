"""Published data sets by the real command: prepared, killed and prepared again, verified, shown, compared."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

import official
import official_clips
import official_media
import official_sentiment
from msam_bench.cli import main
from msam_bench.data import registered
from msam_bench.data.sets import food101, mvsa, nvgesture, stored_clips, ucf101
from msam_bench.data.sets.ave import source as ave
from msam_bench.data.sets.cremad import source as cremad
from msam_bench.data.store import building
from msam_bench.reporting import report
from msam_bench.runs import executor

FILES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "avmnist": ("bytes", official.avmnist),
    "cremad": ("ogm-1fps", official.cremad),
    "cremad-fbank": ("fbank-3f", official.cremad),
    "urfunny": ("multibench", official.urfunny_multibench),
    "urfunny-sdk": ("sdk", official.urfunny_sdk),
    "ave": ("clips", official.ave_clips),
    "ave-segments": ("segments", official.ave_segments),
    "av-digits": ("k4", official.avdigits_parts),
    "mosi": ("seven", lambda folder: official_sentiment.multibench(folder, "mosi_raw.pkl")),
    "mustard": ("multibench", lambda folder: official_sentiment.multibench(folder, "sarcasm.pkl")),
    "ucf101": ("middles-3", official_media.ucf101),
    "food101": ("resnet-40w", official_media.food101),
    "mvsa": ("resnet-40w", official_media.mvsa),
    "iemocap": ("utterances", official_media.iemocap),
    "nvgesture": ("middles-3", official_media.nvgesture),
    "kinetics-sounds": ("stored-3f", official_clips.kinetics_sounds),
    "vggsound": ("stored-3f", official_clips.vggsound),
}
"""Name of the store -> the recipe (of the data set that the name begins with) and what makes the files."""

NARROW = """
features = 8
hidden = 8
trunk = [8, 4]
batch_size = 8
"""

SHALLOW = "".join(f"[encoders.{name}]\nparams = {{ layers = 1 }}\n" for name in ("vision", "audio", "text"))


class Here(Executor):
    """Jobs run at once, in this process."""

    def submit(self, job: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(job(*arguments, **options))
        return done


def msam(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert not stopped.value.code, said.err
    return said.out


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MSAM_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executor, "processes", lambda workers: Here())
    monkeypatch.setattr(report, "write_report", lambda records, folder, *_: folder)  # drawing is tested elsewhere
    for module in (cremad, ave, ucf101, food101, mvsa, nvgesture, stored_clips):  # real sizes: tests/unit
        monkeypatch.setattr(module, "SIZE", 32)
    monkeypatch.setattr(ave, "SECONDS", 2)
    return tmp_path


def kill(command: list[str | Path], samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command whose process dies, as far as the store can tell, when it has stored so many samples."""
    fitted, stored = building.to_stored, []

    def counted(*arguments: Any) -> Any:
        if len(stored) == samples:
            raise KeyboardInterrupt
        stored.append(1)
        return fitted(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(building, "to_stored", counted)
        with pytest.raises(SystemExit):
            main([str(argument) for argument in command])
    assert len(stored) == samples


def prepare(name: str, files: Path, into: str) -> list[str | Path]:
    data = name if name in registered() else name.partition("-")[0]
    return ["data", "prepare", data, files, "--recipe", FILES[name][0], "--rename", name, "--into", into]


@pytest.mark.parametrize("name", FILES)
def test_a_published_set_is_prepared_killed_continued_verified_shown_and_compared(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FILES[name][1](place / "files")
    monkeypatch.setattr(building, "CHUNK_BYTES", 1)  # a sample a chunk
    msam(capsys, *prepare(name, files, "whole"))
    for samples in (1, 7):
        kill(prepare(name, files, "data"), samples, monkeypatch)
        assert not (place / "data" / name).exists()
    capsys.readouterr()
    said = msam(capsys, *prepare(name, files, "data"))
    assert f"prepared              data/{name}" in said
    assert contents(place / "whole" / name) == contents(place / "data" / name)

    assert "is as it was prepared" in msam(capsys, "data", "verify", name)
    assert "fingerprint" in msam(capsys, "data", "show", name)
    (place / "narrow.toml").write_text(NARROW + (SHALLOW if name.startswith(("urfunny", "mosi", "mustard")) else ""))
    for fusion in ("late", "early"):
        asked = (
            "--fusion",
            fusion,
            "--methods",
            "joint,sam,msam,msam-encoder",
            "--epochs",
            "1",
            "--seeds",
            "1",
            "--baselines",
            "0",
        )
        said = msam(capsys, "compare", "--data", name, *asked, "--config", "narrow.toml")
        assert all(method in said for method in ("joint", "sam", "msam", "msam-encoder"))
        assert len(list((place / "runs").glob(f"{name}-{fusion}-*/best.ckpt"))) == 4


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
