"""The data sets that ship besides digits6 and smartwatch: shapes, splits that share nothing, values of the sources."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from msam_bench.data import SPLITS, Dataset, source
from msam_bench.data.sets import avdigits_small, icons, leaves, omniglot, room
from msam_bench.data.sets.shipped import Shipped, unpack_pictures
from msam_bench.encoders import encoder

SOURCES: dict[str, Shipped] = {
    each.name: each
    for each in (
        leaves.LEAVES,
        room.ROOM,
        omniglot.OMNIGLOT,
        omniglot.OMNIGLOT_ALPHABETS,
        icons.ICONS,
        avdigits_small.AV_DIGITS_SMALL,
    )
}
SHAPES = {
    "leaves": {"margin": (64,), "shape": (64,), "texture": (64,)},
    "room": {"temperature": (4, 10), "light": (4, 10), "sound": (4, 10), "co2": (1, 10), "motion": (2, 10)},
    "omniglot": {"picture": (1, 28, 28), "path": (3, 40)},
    "omniglot-alphabets": {"picture": (1, 28, 28), "path": (3, 40)},
    "icons": {"picture": (1, 24, 24), "text": (20,)},
    "av-digits-small": {"image": (1, 28, 28), "audio": (1, 32, 32)},
}
KINDS = {
    "leaves": {"vector"},
    "room": {"series"},
    "omniglot": {"image", "series"},
    "omniglot-alphabets": {"image", "series"},
    "icons": {"image", "tokens"},
    "av-digits-small": {"image", "spectrogram"},
}
SCRIPTS = Path(__file__).parents[2] / "scripts"


def same(a: Dataset, b: Dataset) -> bool:
    return all(
        torch.equal(a.splits[part].target, b.splits[part].target)
        and all(torch.equal(tensor, b.splits[part].inputs[name]) for name, tensor in a.splits[part].inputs.items())
        for part in SPLITS
    )


# ---------------------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_describes_what_it_loads(name: str) -> None:
    described = source(name)
    dataset = described.load(0)
    assert described is SOURCES[name]
    assert list(dataset.shapes.items()) == list(SHAPES[name].items())
    assert described.modalities == dataset.modalities
    assert described.classes == dataset.classes
    assert {spec.kind for spec in specs(dataset).values()} == KINDS[name]
    assert described.here
    assert described.status() == "ships with msam"
    assert dataset.fingerprint == described.fingerprint


def specs(dataset: Dataset) -> dict[str, object]:
    """What each modality is like, under either of its names."""
    return dict(getattr(dataset, "modality_specs", None) or dataset.looks)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("seed", range(4))
def test_every_split_has_every_class_and_the_size_that_is_promised(name: str, seed: int) -> None:
    dataset = source(name).load(seed)
    assert {part: len(split) for part, split in dataset.splits.items()} == source(name).sizes(seed)
    for split in dataset.splits.values():
        assert split.target.unique().tolist() == list(range(len(dataset.classes)))
        for modality, tensor in split.inputs.items():
            tokens = specs(dataset)[modality].kind == "tokens"  # type: ignore[attr-defined]
            assert tensor.dtype == (torch.int64 if tokens else torch.float32)
            assert tensor.isfinite().all()


@pytest.mark.parametrize("name", SOURCES)
def test_a_seed_gives_the_same_tensors_again(name: str) -> None:
    before = torch.get_rng_state()
    first = source(name).load(1)
    for split in source(name).load(1).splits.values():
        for tensor in split.inputs.values():
            tensor.zero_()
    assert same(first, source(name).load(1))
    assert torch.equal(before, torch.get_rng_state())
    assert same(first, source(name).load(2)) == (name == "av-digits-small")


@pytest.mark.parametrize("name", SOURCES)
def test_numbers_are_standardised_by_the_training_split_alone(name: str) -> None:
    for tensor in source(name).load(0).splits["train"].inputs.values():
        if not tensor.is_floating_point():
            continue
        axes = [axis for axis in range(tensor.dim()) if axis != 1]
        mean, variance = tensor.double().mean(axes), tensor.double().var(axes, correction=0)
        varies = tensor.amax(axes) > tensor.amin(axes)
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)  # float32 values near 1
        torch.testing.assert_close(variance, varies.double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SOURCES)
def test_a_negative_seed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Expected a seed of 0 or more, found -1"):
        source(name).load(-1)


@pytest.mark.parametrize("name", SOURCES)
def test_the_card_names_the_file_its_tensors_and_its_licence(name: str) -> None:
    file = SOURCES[name].file
    card = file.path.with_suffix(".md").read_text(encoding="utf-8")
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    assert file.sha256 in card
    assert all(f"`{key}`" in card for key in file.tensors())
    licence = SOURCES[name].licence.partition(" (")[0]
    assert licence in card
    assert all(f"## {title}" in card for title in ("Provenance", "What to know", "Licence and citation"))


@pytest.mark.parametrize("name", SOURCES)
def test_the_default_encoders_take_every_modality(name: str) -> None:
    dataset = source(name).load(0)
    inputs, _ = dataset.splits["valid"].take(slice(0, 3))
    for modality, spec in specs(dataset).items():
        assert encoder(spec, 8, 8)(inputs[modality]).shape == (3, 8)  # type: ignore[arg-type]


def test_the_fingerprints_are_different_ones() -> None:
    assert len({each.fingerprint for each in SOURCES.values()}) == len(SOURCES)


def test_what_ships_is_small() -> None:
    sizes = [path.stat().st_size for path in leaves.LEAVES.file.path.parent.iterdir()]
    assert sum(sizes) < 13e6  # 7 MB in the wheel, which is compressed


# --------------------------------------------------------------------------------------------------------------- leaves


@pytest.mark.parametrize("seed", range(4))
def test_leaves_are_drawn_species_by_species(seed: int) -> None:
    species = leaves.LEAVES.file.tensors()["species"].tolist()
    rows = leaves.drawn_rows(species, seed)
    assert sorted(row for chosen in rows.values() for row in chosen) == list(range(1599))
    assert [Counter(species[row] for row in rows[part]) for part in SPLITS] == [
        Counter(dict.fromkeys(range(100), 3)),
        Counter(dict.fromkeys(range(100), 3)),
        Counter({number: 10 if number else 9 for number in range(100)}),
    ]


def test_leaves_have_the_values_of_the_source() -> None:
    # The second and the last leaf of the matrix: first, second and last number of each view, as printed there.
    stored = leaves.LEAVES.file.tensors()
    printed = {
        "margin": ([0.005859, 0.013672, 0.0], [0.019531, 0.013672, 0.03125]),
        "shape": ([0.00063028, 0.00066074, 0.00066691], [0.00084963, 0.00076958, 0.0007965]),
        "texture": ([0.025391, 0.012695, 0.027344], [0.010742, 0.017578, 0.012695]),
    }
    spots = {view: stored[view][[0, -1]][:, [0, 1, -1]] for view in printed}
    for view, rows in printed.items():
        unit = 1 if view == "shape" else 1024
        torch.testing.assert_close(spots[view] / unit, torch.tensor(rows), atol=1e-6, rtol=0)
    assert stored["margin"].sum(1).unique().tolist() == [1024]
    assert (stored["texture"].sum(1) - 1024).abs().max() <= 1
    assert [len(stored[view].unique(dim=0)) for view in leaves.LEAVES.modalities] == [1599] * 3


# ----------------------------------------------------------------------------------------------------------------- room


@pytest.mark.parametrize("seed", range(4))
def test_a_session_of_room_is_in_one_split(seed: int) -> None:
    chosen = room.sessions(seed)
    assert sorted(each for part in SPLITS for each in chosen[part]) == [0, 1, 2, 3, 4]
    assert chosen["valid"] == room.sessions(seed + 1)["test"]
    assert room.ROOM.fold(seed) == seed % 3
    _, people, session = room.windows(room.ROOM.file.tensors(), ("light",))
    for part, split in source("room").load(seed).splits.items():
        assert torch.equal(split.target, people[torch.isin(session, torch.tensor(chosen[part]))])


def test_windows_of_room_cross_no_session_and_no_pause() -> None:
    stored = room.ROOM.file.tensors()
    number = torch.arange(len(stored["people"]), dtype=torch.int32)
    inputs, people, session = room.windows({**stored, "number": number[:, None]}, ("number", "light"))
    windows = inputs["number"][:, 0].long()
    assert (windows[:, -1] - windows[:, 0] == 9).all()
    assert (stored["second"][windows].diff() <= 120).all()
    assert (stored["session"][windows] == session[:, None]).all()
    assert torch.equal(stored["people"][windows[:, -1]].long(), people)
    assert torch.equal(inputs["light"][7], stored["light"][windows[7]].T)
    assert session.bincount().tolist() == list(room.WINDOWS.values())
    overlaps = windows[1:, 0] - windows[:-1, 0]
    assert (overlaps[session[1:] == session[:-1]] >= 5).all()
    assert (overlaps == 5).float().mean() > 0.99


def test_room_has_the_readings_of_the_source() -> None:
    stored = room.ROOM.file.tensors()
    assert stored["people"].bincount().tolist() == [8228, 459, 748, 694]
    assert stored["temperature"][0].tolist() == [2494, 2475, 2456, 2538]
    assert stored["light"][1].tolist() == [121, 33, 53, 40]
    assert stored["sound"][1].tolist() == [93, 5, 6, 6]
    assert (stored["co2"][0].item(), stored["motion"][0].tolist(), stored["second"][1].item()) == (390, [0, 0], 31)


# ------------------------------------------------------------------------------------------------------------- omniglot


@pytest.mark.parametrize("seed", range(4))
def test_drawers_of_omniglot_are_in_one_split(seed: int) -> None:
    numbers = omniglot.drawers(seed)
    assert [len(numbers[part]) for part in SPLITS] == [8, 4, 8]
    assert set.union(*numbers.values()) == set(range(1, 21))
    for name in ("omniglot", "omniglot-alphabets"):
        stored, target = SOURCES[name].file.tensors(), name.endswith("alphabets")
        label = stored["alphabet" if target else "character"].long()
        for part, split in source(name).load(seed).splits.items():
            chosen = torch.isin(stored["drawer"], torch.tensor(list(numbers[part]), dtype=torch.uint8))
            assert torch.equal(split.target, label[chosen])


def test_every_drawer_of_omniglot_draws_every_character_once() -> None:
    stored = omniglot.OMNIGLOT.file.tensors()
    drawn = set(zip(stored["character"].tolist(), stored["drawer"].tolist(), strict=True))
    assert len(drawn) == len(stored["character"]) == 242 * 20
    for number, (alphabet, count) in enumerate(omniglot.ALPHABETS.items()):
        own = stored["character"][stored["alphabet"] == number].unique()
        assert len(own) == count
        assert all(omniglot.OMNIGLOT.classes[character].startswith(alphabet) for character in own)


def test_pictures_and_paths_of_omniglot_show_the_same_drawing() -> None:
    """Nearly every point of the pen lies on ink."""
    stored = omniglot.OMNIGLOT.file.tensors()
    pictures = unpack_pictures(stored["picture"], 28)[:, 0]
    assert pictures.max() == 15
    near = torch.nn.functional.max_pool2d(pictures[:, None].float(), 3, 1, 1)[:, 0]
    places = (stored["path"].long() * 28 // 210).clamp(0, 27)
    ink = near[torch.arange(len(near))[:, None], places[:, :, 1], places[:, :, 0]]
    assert (ink > 0).float().mean() > 0.97
    assert (stored["begins"][:, 0] == 1).all()
    assert stored["begins"].sum(1).min() == 1


# ---------------------------------------------------------------------------------------------------------------- icons


@pytest.mark.parametrize("seed", range(4))
def test_variants_of_an_icon_are_in_one_split(seed: int) -> None:
    stored = icons.ICONS.file.tensors()
    category, stem = stored["category"].tolist(), stored["stem"].tolist()
    rows = icons.drawn_rows(category, stem, seed)
    assert sorted(row for chosen in rows.values() for row in chosen) == list(range(3507))
    stems = [{stem[row] for row in rows[part]} for part in SPLITS]
    assert sum(map(len, stems)) == len(set.union(*stems)) == len(set(stem))
    shares = [len(rows[part]) / 3507 for part in SPLITS]
    assert shares == pytest.approx([0.5, 0.125, 0.375], abs=0.02)


def test_icons_have_the_words_of_their_tags() -> None:
    stored = icons.ICONS.file.tensors()
    vocabulary = bytes(stored["vocabulary"].tolist()).decode().split("\n")
    assert len(vocabulary) == icons.VOCABULARY - 1 == stored["text"].max()
    first = [vocabulary[number - 1] for number in stored["text"][0].tolist() if number]
    assert first[:7] == ["ab", "test", "split", "experiment", "variant", "comparison", "compare"]
    assert (stored["text"].diff() != 0).any(1).all()
    padding = stored["text"] == 0
    assert (padding[:, :-1] <= padding[:, 1:]).all()


def test_icons_are_drawn_in_black_on_nothing() -> None:
    pictures = unpack_pictures(icons.ICONS.file.tensors()["picture"], 24)
    assert pictures.max() == 15
    assert (pictures.sum((1, 2, 3)) > 0).all()
    assert pictures[:, :, [0, -1]].sum() < 0.01 * pictures.sum()  # Tabler leaves a margin


# ------------------------------------------------------------------------------------------------------ av-digits-small


@pytest.mark.parametrize("what", ["recording", "noise"])
def test_av_digits_small_shares_no_recording_and_no_noise_between_splits(what: str) -> None:
    stored = avdigits_small.AV_DIGITS_SMALL.file.tensors()
    train, valid, test = (set(stored[f"{part}_{what}"].tolist()) for part in SPLITS)
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)


def test_av_digits_small_pairs_a_recording_of_the_digit() -> None:
    """The 3,000 recordings are sorted by name, hence by digit: three hundred of each."""
    stored = avdigits_small.AV_DIGITS_SMALL.file.tensors()
    for part in SPLITS:
        recording = stored[f"{part}_recording"][stored[f"{part}_pair"].long()].long()
        assert torch.equal(recording // 300, stored[f"{part}_digit"].long())


def test_pictures_are_the_mean_and_four_components() -> None:
    stored = avdigits_small.AV_DIGITS_SMALL.file.tensors()
    split = avdigits_small.pairs(stored, "test")
    exact = stored["mean"].double() + stored["test_scores"].double() @ stored["axes"].double()
    expected = exact.clamp(0, 255).reshape(-1, 1, 28, 28)
    assert (split.inputs["image"].double() - expected).abs().max() <= 0.5 + 1e-6
    assert split.inputs["audio"].max() == 63
    axes = stored["axes"].double()
    torch.testing.assert_close(axes @ axes.T, torch.eye(4, dtype=torch.float64), atol=1e-5, rtol=0)


# --------------------------------------------------------------------------------------------------- the build scripts


@pytest.fixture(scope="module", params=["leaves", "room", "omniglot", "icons", "avdigits"])
def script(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    sys.path.insert(0, str(SCRIPTS))
    try:
        path = SCRIPTS / f"build_{request.param}.py"
        specification = importlib.util.spec_from_file_location(path.stem, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(SCRIPTS))


def test_a_script_refuses_other_sources(script: ModuleType, tmp_path: Path) -> None:
    first = script.RECIPE.sources[0]
    with pytest.raises(ValueError, match=r"Expected .* in .*, found none: get it from "):
        script.RECIPE.build(tmp_path)
    (tmp_path / first.file).write_bytes(b"another")
    with pytest.raises(ValueError, match=r"Expected .* with sha256 .*, found .*: get it again"):
        script.RECIPE.build(tmp_path)


def test_the_shipped_files_are_those_of_the_script(script: ModuleType) -> None:
    folder = leaves.LEAVES.file.path.parent
    card = (folder / f"{script.RECIPE.name}.md").read_text(encoding="utf-8")
    assert all(f"{pinned.sha256}  {pinned.file}" in card for pinned in script.RECIPE.sources)
    tensors = next(each for each in SOURCES.values() if each.file.path.stem == script.RECIPE.name).file.tensors()
    assert set(tensors) == set(script.RECIPE.meaning)


@pytest.mark.skipif("MSAM_SOURCES" not in os.environ, reason="MSAM_SOURCES names no folder with the source files")
def test_a_script_builds_what_is_shipped(script: ModuleType) -> None:
    files = script.RECIPE.build(Path(os.environ["MSAM_SOURCES"]))
    assert sys.modules["embedding"].differing(files) == []
