"""Anything a user may type or find on disk: success, or one sentence and exit code 2; and no file half written.

1,030 cases, always the same; `MSAM_FUZZ=20 pytest tests/fuzz` tries twenty times as many, drawn anew. Training stops
before it begins.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msam_bench.cli import jobs, main
from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig, parse_method, validated
from msam_bench.data import Modality
from msam_bench.data.store.building import Sample
from msam_bench.data.store.building import build as build_store
from msam_bench.data.store.manifest import NAME, Header, sha256
from msam_bench.data.store.prepared import opened
from msam_bench.registry import build, methods
from msam_bench.reporting import pictures
from msam_bench.runs import fit
from msam_bench.training import checkpoint
from zoo import same

TIMES = float(os.environ.get("MSAM_FUZZ", "1"))


def cases(count: int) -> Any:
    return settings(max_examples=max(1, int(count * TIMES)), deadline=None, derandomize=TIMES == 1)


class Reached(Exception):
    """The command was understood."""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with one finished run in it; training stops before it begins, and pictures are not drawn."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        wanted = resolve("digits6", "late", "msam", epochs=2, batch_size=100, features=4, hidden=4)
        fit.run(wanted, folder / "runs")
        store(folder / "data/mine")

        def begin(*arguments: Any, **options: Any) -> None:
            raise Reached

        patch.setattr(fit, "run", begin)
        patch.setattr(jobs, "pool", begin)
        patch.setattr(pictures, "drawn", lambda name, figure, scale=2.0: {})
        yield folder


def said(arguments: list[str]) -> str:
    """What a command ends with: nothing, or one sentence with exit code 2. Anything else fails here."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except Reached:
            return ""
        except SystemExit as end:
            if end.code in (None, 0):
                return ""
            code = end.code
    text = errors.getvalue()
    assert code == 2, (arguments, text)
    assert text.startswith("msam: "), (arguments, text)
    assert text.count("\n") == 1, (arguments, text)
    assert len(text) > 20, (arguments, text)
    return text


# ---- what a user may write ------------------------------------------------------------------------------------------

WORDS = st.text(max_size=12)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 300),
    st.floats(),
    WORDS,
    st.sampled_from(
        ["nan", "inf", "-1", "0", "1e999", "../..", "/", "sgd", "late", "late,early", "digits6", "ü\u2028"]
    ),
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))
KEYS = st.sampled_from(list(RunConfig.model_fields)) | WORDS
METHOD = st.builds(
    lambda name, parts: ":".join([name, *parts]),
    st.sampled_from([*methods(), "msam.methods.sam:SAM", "os:system", "builtins:dict"]) | WORDS,
    st.lists(
        st.builds(
            lambda key, value: f"{key}={value}",
            st.sampled_from(["rho", "alpha", "scope", "dominant", "every", "attribution.momentum", "attribution.value"])
            | WORDS,
            PLAIN,
        )
        | WORDS,
        max_size=3,
    ),
)


@cases(150)
@given(values=st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_settings_make_a_run_or_a_sentence(values: dict[str, Any]) -> None:
    try:
        config = validated(values)
    except ValueError as error:
        one_sentence(error)
        return
    assert validated(config.model_dump(mode="json")).identity == config.identity
    assert len(config.identity) == 12


def one_sentence(error: Exception) -> None:
    assert str(error).strip(), repr(error)
    assert "\n" not in str(error), str(error)


@cases(150)
@given(values=st.dictionaries(KEYS, VALUES, max_size=4) | st.text() | st.binary(max_size=40), method=METHOD)
def test_any_file_of_settings_begins_training_or_ends_in_a_sentence(values: Any, method: str) -> None:
    path = Path("settings.toml")
    if isinstance(values, dict):
        values = tomli_w.dumps(_writable(values))
    path.write_bytes(values if isinstance(values, bytes) else values.encode("utf-8", "replace"))
    said(["train", "--config", str(path), f"--method={method}"])


def _writable(value: Any) -> Any:
    """Without what TOML cannot hold."""
    if isinstance(value, dict):
        return {_text(key): _writable(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_writable(inner) for inner in value if inner is not None]
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


@cases(100)
@given(text=METHOD)
def test_any_method_is_made_or_refused_in_a_sentence(text: str) -> None:
    try:
        build(parse_method(text), {"audio": 3, "image": 4}, 3)
    except ValueError as error:
        one_sentence(error)


OPTIONS = ["--data", "--method", "--methods", "--seed", "--seeds", "--first-seed", "--fusion", "--epochs", "--lr"]
OPTIONS += ["--batch-size", "--optimizer", "--momentum", "--schedule", "--features", "--select", "--config", "--resume"]
OPTIONS += [
    "--workers",
    "--runs",
    "--report",
    "--output",
    "--block",
    "--points",
    "--samples",
    "--status",
    "--rho",
    "--x",
]
VERBS = [["compare"], ["train"], ["runs"], ["report"], ["landscape"], ["study", "flatness"], ["data", "show"]]
VERBS += [["data", "list"], ["data", "verify"], ["data", "import"], ["data", "prepare"], ["data"], ["study"], []]
TOKEN = st.one_of(
    st.sampled_from(OPTIONS),
    PLAIN.map(str),
    METHOD,
    st.sampled_from(["runs", "nowhere", "mine", "data/mine", "joint,sam", "--help", "--", "-h", "=", "--no-x"]),
)


@cases(250)
@given(verb=st.sampled_from(VERBS), rest=st.lists(TOKEN, max_size=6))
def test_any_command_begins_ends_or_says_why_not(verb: list[str], rest: list[str]) -> None:
    before = sorted(Path().rglob("*"))
    ended = said([*verb, *(part.replace("\0", "") for part in rest)])
    if ended:
        assert sorted(Path().rglob("*")) == before, (verb, rest, "leaves something behind")
    for name in set(Path().iterdir()) - {Path("runs"), Path("data"), Path("settings.toml")}:
        shutil.rmtree(name) if name.is_dir() else name.unlink()


# ---- what may lie on the disk ---------------------------------------------------------------------------------------


def mangled(data: st.DataObject, content: bytes) -> bytes:
    """A file that was cut, or in which some bytes were changed, removed or added."""
    position = data.draw(st.integers(0, max(0, len(content) - 1)))
    put = data.draw(st.binary(max_size=8))
    keep = data.draw(st.sampled_from([0, 1, len(put), 10**9]))
    return content[:position] + put + content[position + keep :]


def altered(data: st.DataObject, value: Any) -> Any:
    """JSON in which one thing, at any depth, was removed or is something else."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(value)))
        rest = {name: inner for name, inner in value.items() if name != key}
        return rest if data.draw(st.integers(0, 3)) == 0 else {**rest, key: altered(data, value[key])}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        return [*value[1:], altered(data, value[0])]
    return data.draw(VALUES)


@contextlib.contextmanager
def put_back(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    try:
        yield content
    finally:
        path.write_bytes(content)


@cases(120)
@given(data=st.data())
def test_any_record_is_shown_or_refused(data: st.DataObject) -> None:
    (path,) = Path("runs").glob("*/run.json")
    with put_back(path) as content:
        if data.draw(st.booleans()):
            path.write_text(json.dumps(altered(data, json.loads(content))))
        else:
            path.write_bytes(mangled(data, content))
        found = path.read_bytes()
        for verb in (["runs"], ["train", "--resume", str(path.parent)]):
            said(verb)
        assert path.read_bytes() == found


@cases(30)
@given(data=st.data())
def test_any_record_is_reported_or_refused(data: st.DataObject) -> None:
    (path,) = Path("runs").glob("*/run.json")
    with put_back(path) as content:
        path.write_text(json.dumps(altered(data, json.loads(content))))
        if said(["report", "--output", "page"]):
            assert not list(Path().glob("page/*"))
    shutil.rmtree("page", ignore_errors=True)


@cases(50)
@given(data=st.data())
def test_any_metrics_are_shown_or_refused(data: st.DataObject) -> None:
    (path,) = Path("runs").glob("*/metrics.csv")
    with put_back(path) as content:
        path.write_bytes(mangled(data, content))
        said(["runs"])


STATE = {"model": {"weight": torch.arange(6.0).view(2, 3), "on": torch.tensor(True)}, "epoch": 3, "names": ["a", None]}


@cases(75)
@given(data=st.data())
def test_any_checkpoint_is_whole_or_refused(data: st.DataObject) -> None:
    path = Path("runs/state.ckpt")
    checkpoint.save(path, STATE)
    content = path.read_bytes()
    found = mangled(data, content)
    path.write_bytes(found)
    try:
        state = checkpoint.load(path)
        assert found == content or same(state, STATE)
    except ValueError as error:
        one_sentence(error)
    finally:
        path.unlink()


def store(folder: Path) -> None:
    """A small prepared store."""
    look = {"sound": Modality("series", dtype="float16"), "face": Modality("image", dtype="uint8", scale=1 / 255)}
    about = {"summary": "Numbers.", "licence": "CC0-1.0", "citation": "none", "origin": "a test"}
    header = Header(name="mine", modalities=look, classes=("no", "yes"), **about)
    counts = {"train": 6, "valid": 4, "test": 4}
    plan = {part: [Sample(f"{part}{i}", i, i % 2) for i in range(count)] for part, count in counts.items()}
    face = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    build_store(folder, header, plan, lambda item: {"sound": torch.ones(2, 9) * item, "face": face})


def used(folder: Path) -> None:
    """What the bench does with a store before training."""
    found = opened(folder)
    found.sizes()
    dataset = found.load(0)
    for split in dataset.splits.values():
        split.take(torch.arange(min(2, len(split))))


@cases(75)
@given(data=st.data())
def test_any_manifest_is_used_or_refused(data: st.DataObject) -> None:
    """Also one whose seal is right, which a store has that somebody else wrote."""
    path = Path("data/mine") / NAME
    with put_back(path) as content:
        if data.draw(st.integers(0, 3)):
            manifest = altered(data, {key: value for key, value in json.loads(content).items() if key != "seal"})
            with contextlib.suppress(ValueError):
                manifest = {**manifest, "seal": sha256(manifest)} if isinstance(manifest, dict) else manifest
            path.write_text(json.dumps(manifest))
        else:
            path.write_bytes(mangled(data, content))
        try:
            used(path.parent)
        except ValueError as error:
            one_sentence(error)
        said(["data", "list"])
        said(["data", "show", "mine"])


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname", "sub/../../x", "sub/x", "..", "."])
def test_a_path_in_a_manifest_cannot_leave_its_folder(name: str) -> None:
    path = Path("data/mine") / NAME
    with put_back(path) as content:
        manifest = json.loads(content)
        del manifest["seal"]
        manifest["files"][name] = {"sha256": "0" * 64, "bytes": 0}
        path.write_text(json.dumps({**manifest, "seal": sha256(manifest)}))
        with pytest.raises(ValueError, match="only names of files in its folder"):
            opened(path.parent)


@cases(30)
@given(data=st.data())
def test_any_file_of_a_store_is_used_or_refused(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(Path("data/mine").glob("*.*"))))
    with put_back(path) as content:
        path.write_bytes(mangled(data, content))
        said(["data", "verify", "mine"])
        said(["data", "show", "mine"])
