"""A repeated import: the same data are found, other data are refused or replace them, and old stores still open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clips import tone, write_wav
from imports import COUNT, archive, noise, planned, table, write_table
from msam_bench.data.store import building
from msam_bench.data.store.manifest import read, sha256, verify
from msam_bench.data.store.prepared import opened


def test_the_same_import_is_found_and_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, x=noise())
    first = planned(path).build(tmp_path / "mine")
    monkeypatch.setattr(building, "measure_specs", lambda *arguments: pytest.fail("built again"))
    assert planned(path).build(tmp_path / "mine") == first
    shutil.copy(path, tmp_path / "copy.csv")  # another file time, the same content
    shutil.move(tmp_path / "copy.csv", path)
    assert planned(path).build(tmp_path / "mine", replace_other=True) == first


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"x": [99.0, *noise()[1:]]}, {}),
        ({"label": ["dog", "dog", *[("cat", "dog")[row % 2] for row in range(2, COUNT)]]}, {}),
        ({}, {"leave_out": ("z",)}),
        ({}, {"task": "classes", "licence": "MIT"}),
        ({}, {"modalities": ("both=*",)}),
        ({}, {"na": (str(noise()[0]),), "missing": "mean"}),
        ({"split": ["train"] * 30 + ["test"] * 10}, {}),
    ],
)
def test_corrected_data_and_other_guesses_are_never_reported_as_built(
    tmp_path: Path, change: dict[str, Any], options: dict[str, Any]
) -> None:
    known = {"x": noise(), "z": noise(1)}
    before = planned(table(tmp_path, **known)).build(tmp_path / "mine")
    path = table(tmp_path, **{**known, **change})
    with pytest.raises(
        ValueError, match=r"Expected no other data in .*mine, found some: say --replace to build it anew"
    ):
        planned(path, **options).build(tmp_path / "mine")
    assert read(tmp_path / "mine") == before
    after = planned(path, **options).build(tmp_path / "mine", replace_other=True)
    assert after.request != before.request
    assert verify(tmp_path / "mine") == after
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mine", "t.csv"]


def test_corrected_files_of_a_folder_are_seen(tmp_path: Path) -> None:
    for row in range(9):
        write_wav(tmp_path / "f" / f"{row}.wav", tone(440, 0.3))
    path = write_table(
        tmp_path / "f" / "t.csv", {"voice": [f"{row}.wav" for row in range(9)], "label": list("abc" * 3)}
    )
    before = planned(path).build(tmp_path / "mine")
    write_wav(tmp_path / "f" / "4.wav", tone(880, 0.3))
    with pytest.raises(ValueError, match="found some: say --replace"):
        planned(path).build(tmp_path / "mine")
    assert planned(path).build(tmp_path / "mine", replace_other=True).fingerprint != before.fingerprint


def test_corrected_arrays_are_seen(tmp_path: Path) -> None:
    planned(archive(tmp_path, audio=np.zeros((COUNT, 2)))).build(tmp_path / "mine")
    with pytest.raises(ValueError, match="found some: say --replace"):
        planned(archive(tmp_path, audio=np.ones((COUNT, 2)))).build(tmp_path / "mine")


def test_what_is_replaced_is_there_until_the_other_is_finished(tmp_path: Path) -> None:
    before = planned(table(tmp_path, x=noise())).build(tmp_path / "mine")
    plan = planned(table(tmp_path, x=noise(1)))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.build(tmp_path / "mine", stop, replace_other=True)
    assert verify(tmp_path / "mine") == before
    after = plan.build(tmp_path / "mine", replace_other=True)
    assert verify(tmp_path / "mine") == after != before


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"Expected a prepared data set in .*mine, found no manifest.json"):
        planned(table(tmp_path, x=noise())).build(tmp_path / "mine", replace_other=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


def test_a_damaged_store_can_be_replaced(tmp_path: Path) -> None:
    plan = planned(table(tmp_path, x=noise()))
    plan.build(tmp_path / "mine")
    (tmp_path / "mine" / "all.x.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Expected .* bytes in .*all.x.safetensors, found 0 bytes"):
        plan.build(tmp_path / "mine")
    plan.build(tmp_path / "mine", replace_other=True)
    verify(tmp_path / "mine")


def test_a_store_that_an_older_version_wrote_opens_with_its_fingerprint(tmp_path: Path) -> None:
    manifest = planned(table(tmp_path, x=noise())).build(tmp_path / "mine")
    content = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    del content["seal"], content["header"]["partial"], content["header"]["imputed"]
    (tmp_path / "mine" / "manifest.json").write_text(json.dumps({**content, "seal": sha256(content)}, indent=1) + "\n")
    assert read(tmp_path / "mine") == manifest
    assert opened(tmp_path / "mine").load(3).fingerprint == content["fingerprint"]
