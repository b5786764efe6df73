"""Arrays as people save them: labels in any shape, byte orders, MATLAB and HDF5, values beside the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imports import COUNT, archive, built, names, note, planned
from msam_bench.data.importing.archives import read_arrays

Y = np.arange(COUNT) % 3
X = np.random.default_rng(0).random((COUNT, 6)).astype("f4")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (Y[:, None], ("0", "1", "2")),
        (Y.astype(float)[:, None], ("0", "1", "2")),
        (Y.astype(">i8"), ("0", "1", "2")),
        (Y.astype("u1"), ("0", "1", "2")),
        (np.eye(3)[Y], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[Y], ("0", "1", "2")),
        (np.array(["b", "c", "a"])[Y], ("a", "b", "c")),
        (np.array([b"b", b"c", b"a"])[Y], ("a", "b", "c")),
        (Y > 0, ("False", "True")),
    ],
)
def test_labels_come_in_many_shapes(tmp_path: Path, labels: Any, classes: tuple[str, ...]) -> None:
    plan = planned(archive(tmp_path, audio=X, y=labels))
    assert plan.header.classes == classes
    expected = {"a": [1, 2, 0], "False": [0, 1, 1]}.get(classes[0], [0, 1, 2])
    assert [sample.label for sample in plan.plan["all"][:3]] == expected


def test_several_values_a_sample_are_regressed(tmp_path: Path) -> None:
    plan = planned(archive(tmp_path, audio=X, y=X[:, :2]))
    assert plan.header.classes == ()
    assert plan.plan["all"][3].label == pytest.approx(tuple(map(float, X[3, :2])))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.ones((COUNT, 3)),
            "Expected one class a sample in column y, found 3 of 3 at once: several classes a sample",
        ),
        (
            np.ones((COUNT, 2, 2)),
            r"Expected labels \[n\], \[n, 1\] or \[n, classes\] of numbers in 'y', found \[40, 2, 2\]",
        ),
        (np.full((COUNT, 2), np.nan), "Expected finite labels in 'y', found others in row 0"),
        (Y + 1j, "Expected real numbers in 'y', found complex128"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(archive(tmp_path, audio=X, y=labels))


def test_names_of_classes_and_single_numbers_beside_the_samples(tmp_path: Path) -> None:
    path = archive(tmp_path, audio=X, rate=np.array(16000), step=np.array([5]), classes=np.array(["x", "y", "z"]))
    plan = planned(path)
    assert (plan.header.classes, names(plan)) == (("x", "y", "z"), ["audio"])
    assert note(plan, "classes") == "names of the classes"
    assert planned(path, leave_out=("classes",)).header.classes == ("0", "1", "2")
    assert planned(archive(tmp_path, audio=X, y=Y + 1, classes=np.array(["x", "y", "z"]))).header.classes[0] == "x"
    with pytest.raises(ValueError, match=r"Expected a column among .*, found 'clases': write 'classes'"):
        planned(path, leave_out=("clases",))


def test_an_array_of_another_length_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = archive(tmp_path, audio=X, frequencies=np.arange(6))
    with pytest.raises(ValueError, match="leave out what is no sample by --leave-out frequencies"):
        planned(path)
    assert names(planned(path, leave_out=("frequencies",))) == ["audio"]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">i4", ">u2", "<u4", "f2", np.longdouble, "u2", "u8", "i1"])
def test_values_of_any_order_and_width_are_read_as_they_are(tmp_path: Path, dtype: Any) -> None:
    values = (X * 100).astype(dtype)
    split = built(tmp_path, archive(tmp_path, audio=values)).load(0).splits["train"]
    torch.testing.assert_close(split.inputs["audio"].double(), torch.from_numpy(values.astype("f8")), rtol=1e-6, atol=0)


def test_complex_numbers_are_refused_unless_left_out(tmp_path: Path) -> None:
    path = archive(tmp_path, audio=X + 1j * X, image=X)
    with pytest.raises(
        ValueError, match="Expected real numbers in 'audio', found complex64: import its magnitude, or r"
    ):
        planned(path)
    assert names(planned(path, leave_out=("audio",))) == ["image"]


def test_objects_can_be_left_out(tmp_path: Path) -> None:
    path = archive(tmp_path, audio=X, notes=np.array([{}] * COUNT, object))
    with pytest.raises(ValueError, match="found Python objects: convert or leave them out"):
        planned(path)
    assert names(planned(path, leave_out=("notes",))) == ["audio"]


def test_fields_of_structured_arrays_are_columns(tmp_path: Path) -> None:
    rows = np.array([(value, label) for value, label in zip(X[:, 0], Y, strict=True)], [("v", "f4"), ("label", "i4")])
    np.save(tmp_path / "rows.npy", rows)
    plan = planned(tmp_path / "rows.npy")
    assert (names(plan), plan.header.classes) == (["v"], ("0", "1", "2"))


@pytest.mark.parametrize("pattern", ["{part}_{name}", "{name}_{part}"])
def test_splits_in_the_names_of_arrays(tmp_path: Path, pattern: str) -> None:
    arrays = {
        pattern.format(part=part, name=name): values
        for part in ("train", "test")
        for name, values in (("X", X), ("y", Y))
    }
    np.savez(tmp_path / "a.npz", **arrays, classes=np.array(["a", "b", "c"]))
    plan = planned(tmp_path / "a.npz")
    assert {part: len(samples) for part, samples in plan.plan.items()} == {"train": 37, "valid": 3, "test": 40}
    assert plan.header.classes == ("a", "b", "c")


def test_an_empty_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Expected values in every sample in 'audio', found shape \[0\]: leave it out"
    ):
        planned(archive(tmp_path, audio=np.zeros((COUNT, 0))))


# ------------------------------------------------------------------------------------------------- MATLAB and HDF5


def test_matlab_matrices_have_samples_first(tmp_path: Path) -> None:
    from scipy.io import savemat

    pictures = np.random.default_rng(0).random((5, 5, 3, COUNT))
    savemat(tmp_path / "m.mat", {"pose": X, "face": pictures, "label": Y, "fs": 16000.0})
    store = built(tmp_path, tmp_path / "m.mat")
    assert {name: spec.shape for name, spec in store.manifest.header.modalities.items()} == {
        "pose": (6,),
        "face": (3, 5, 5),
    }
    split = store.load(0).splits["train"]
    torch.testing.assert_close(split.inputs["face"][7], torch.from_numpy(pictures[..., 7]).float().movedim(2, 0))


def test_matlab_cells_of_texts_are_labels_and_structures_can_be_left_out(tmp_path: Path) -> None:
    from scipy.io import savemat

    texts = np.array(["cat", "dog"] * (COUNT // 2), object)
    savemat(tmp_path / "m.mat", {"pose": X, "label": texts, "info": {"who": 1}})
    with pytest.raises(
        ValueError, match=r"Expected arrays in .*m.mat, found: a structure or cells of arrays in 'info'"
    ):
        planned(tmp_path / "m.mat")
    plan = planned(tmp_path / "m.mat", leave_out=("info",))
    assert (plan.header.classes, names(plan)) == (("cat", "dog"), ["pose"])


def test_hdf5_and_matlab_7_3_are_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "h.h5", "w") as file:
        file["pose"], file["label"] = X, np.array([b"cat", b"dog"] * (COUNT // 2))
    assert planned(tmp_path / "h.h5").header.classes == ("cat", "dog")
    with h5py.File(tmp_path / "m.mat", "w", userblock_size=512) as file:
        file["pose"], file["label"] = X.T, Y[None].astype(float)
    content = bytearray((tmp_path / "m.mat").read_bytes())
    content[:19] = b"MATLAB 7.3 MAT-file"
    (tmp_path / "m.mat").write_bytes(content)
    np.testing.assert_array_equal(read_arrays(tmp_path / "m.mat")["pose"], X)
    assert planned(tmp_path / "m.mat").header.classes == ("0", "1", "2")
