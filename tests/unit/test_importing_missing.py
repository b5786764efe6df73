"""Missing values: refused by name, dropped, or the mean of the training split; whole modalities are absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imports import COUNT, LABELS, archive, built, names, noise, note, planned, table
from msam_bench.data.base import Split
from msam_bench.data.scaling import Scaling, standardised

ROWS = range(COUNT)


def with_gaps(folder: Path) -> Path:
    """Row 3 lacks one of two numbers of `a`, row 5 both; `z` is whole."""
    a_x = ["NA" if row in (3, 5) else value for row, value in enumerate(noise(0))]
    a_y = ["?" if row == 5 else value for row, value in enumerate(noise(1))]
    return table(folder, a_x=a_x, a_y=a_y, z=noise(2))


def test_missing_values_are_refused_with_the_first_cell_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"Expected a number in column 'a_x', found 'NA' in line 5 of t.csv and in 1 more of 40 samples: fill it, "
        r"or say --missing mean \(the mean of the training split\) or --missing drop\.",
    ):
        planned(with_gaps(tmp_path))


def test_samples_that_lack_anything_are_dropped(tmp_path: Path) -> None:
    plan = planned(with_gaps(tmp_path), missing="drop")
    assert [sample.id for sample in plan.plan["all"]][2:5] == [f"line {line} of t.csv" for line in (4, 6, 8)]
    assert note(plan, "dropped") == "2 of 40 samples that lack a value"
    assert plan.read(3)["z"].tolist() == pytest.approx([noise(2)[4]])


def test_a_missing_number_is_the_mean_of_the_training_split_of_each_seed(tmp_path: Path) -> None:
    store = built(tmp_path / "data", with_gaps(tmp_path), missing="mean")
    assert (store.manifest.header.imputed, store.manifest.header.partial) == (("a",), ("a",))
    values = torch.tensor([noise(0), noise(1)], dtype=torch.float64).T
    for seed in range(4):
        splits = store.load(seed).splits
        rows = splits["train"].rows
        assert rows is not None
        known = [row for row in rows.tolist() if row not in (3, 5)]
        both = [row for row in rows.tolist() if row != 5]
        mean = torch.stack([values[known, 0].mean(), values[both, 1].mean()])
        deviation = torch.stack([values[known, 0].std(correction=0), values[both, 1].std(correction=0)])
        for split in splits.values():
            assert split.rows is not None
            inputs, _ = split.take(slice(None))
            assert bool(torch.isfinite(inputs["a"]).all())
            for place, row in enumerate(split.rows.tolist()):
                assert bool(inputs["a/present"][place]) == (row != 5)
                if row == 3:
                    assert float(inputs["a"][place, 0]) == 0.0
                elif row != 5:
                    expected = ((values[row] - mean) / deviation).float()
                    torch.testing.assert_close(inputs["a"][place], expected, atol=1e-5, rtol=1e-5)


def test_moments_leave_missing_values_out_whatever_the_chunks() -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(700, 3, generator=draw)
    values[torch.rand(700, 3, generator=draw) < 0.3] = torch.nan
    values[:, 2] = torch.where(values[:, 2].isnan(), torch.nan, 5.0)
    scaled = standardised(Scaling(), values, None, 1, impute=True)(values)
    for column in (0, 1):
        known = values[:, column][~values[:, column].isnan()].double()
        expected = ((values[:, column].double() - known.mean()) / known.std(correction=0)).nan_to_num(0.0)
        torch.testing.assert_close(scaled[:, column].double(), expected, atol=1e-5, rtol=1e-5)
    assert scaled[:, 2].eq(0).all()


def test_a_modality_without_any_known_value_in_training_is_zero() -> None:
    values = torch.full((5, 2), torch.nan)
    assert standardised(Scaling(), values, None, 1, impute=True)(values).eq(0).all()


def test_a_sample_without_any_modality_has_the_mean_if_it_is_numbers(tmp_path: Path) -> None:
    path = table(tmp_path, x=["NA", *noise()[1:]])
    plan = planned(path, missing="mean")
    assert (plan.header.partial, plan.header.imputed) == ((), ("x",))
    texts = ["", *[f"word {row % 5}" for row in range(1, COUNT)]]
    with pytest.raises(
        ValueError, match=r"Expected a modality in line 2 of t.csv, found all of them missing: drop it, or"
    ):
        planned(table(tmp_path, note=texts), missing="mean")


def test_a_text_without_a_word_is_missing(tmp_path: Path) -> None:
    for cell, shown in (("", "an empty cell"), ("NaN", "'NaN'"), ("...", r"'\.\.\.'")):
        path = table(tmp_path, note=[cell if row == 4 else f"word {row % 5}" for row in ROWS], x=noise())
        with pytest.raises(
            ValueError, match=rf"a text in column 'note', found {shown} in line 6 of t.csv: fill it, or"
        ):
            planned(path)
        assert planned(path, missing="mean").header.partial == ("note",)


def test_a_modality_that_no_sample_has_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path, audio=np.full((COUNT, 3), np.nan), image=np.ones((COUNT, 3)))
    with pytest.raises(
        ValueError, match="Expected a sample with the modality 'audio', found none: leave it out by --leav"
    ):
        planned(path, missing="mean")


@pytest.mark.parametrize("shape", [(6,), (3, 8), (3, 5, 5), (2, 3, 5, 5)])
def test_nan_in_arrays_is_a_missing_value_or_a_missing_modality(tmp_path: Path, shape: tuple[int, ...]) -> None:
    audio = np.random.default_rng(0).normal(size=(COUNT, *shape))
    audio[4].flat[0], audio[6] = np.nan, np.nan
    path = archive(tmp_path, audio=audio, image=np.ones((COUNT, 2)))
    with pytest.raises(
        ValueError, match=r"Expected finite numbers in 'audio', found nan in row 4 of a.npz and in 1 more"
    ):
        planned(path)
    split = built(tmp_path / "data", path, missing="mean").load(0).splits["train"]
    assert split.presence["audio/present"].logical_not().nonzero().flatten().tolist() == [6]
    assert split.rows is not None
    inputs, _ = split.take(torch.arange(len(split)))
    assert bool(torch.isfinite(inputs["audio"]).all())


def test_nan_in_a_padded_sequence_is_refused(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).normal(size=(COUNT, 5, 3))
    audio[4, 0, 0] = np.nan
    with pytest.raises(
        ValueError, match=r"Expected finite numbers in the sequence 'audio', found NaN in row 4 of a.npz"
    ):
        planned(archive(tmp_path, audio=audio), kinds={"audio": "sequence"}, missing="mean")


def test_a_seed_without_a_training_sample_that_has_a_modality_is_refused(tmp_path: Path) -> None:
    audio = np.full((COUNT, 3), np.nan)
    audio[3] = 1.0
    store = built(tmp_path / "data", archive(tmp_path, audio=audio, image=np.ones((COUNT, 2))), missing="mean")
    rows = {seed: store._rows([0, 1, 2] * 13 + [0], seed)["train"] for seed in range(20)}
    trained = [seed for seed, train in rows.items() if 3 in train]
    others = [seed for seed in rows if seed not in trained]
    assert {3} <= set(store.load(trained[0]).splits["train"].rows.tolist())  # type: ignore[union-attr]
    with pytest.raises(
        ValueError, match="Expected a training sample of 'mine' that has 'audio', found none: it is too"
    ):
        store.load(others[0])


def test_masks_go_with_the_rows_that_are_taken() -> None:
    mask = torch.tensor([True, False, True, False])
    split = Split(
        {"a": torch.arange(4.0)[:, None]}, torch.tensor([7, 8]), torch.tensor([1, 2]), {}, {"a/present": mask}
    )
    inputs, target = split.take(torch.tensor([1, 0]))
    assert (inputs["a"].flatten().tolist(), inputs["a/present"].tolist(), target.tolist()) == (
        [2, 1],
        [True, False],
        [8, 7],
    )


@pytest.mark.parametrize("method", ["joint", "msam", "mmpareto", "unimodal:modality=a"])
@pytest.mark.parametrize("fusion", ["late", "early"])
def test_runs_train_and_test_with_absent_modalities(tmp_path: Path, fusion: str, method: str) -> None:
    from msam_bench.config.resolve import resolve
    from msam_bench.runs import fit

    built(tmp_path / "data", with_gaps(tmp_path), missing="mean")
    config = resolve(str(tmp_path / "data" / "mine"), fusion, method, epochs=2)
    record = fit.run(config, tmp_path / "runs")
    assert record.status == "finished"
    assert 0 <= record.summary["test_accuracy"] <= 1


def test_labels_stay_with_their_samples(tmp_path: Path) -> None:
    plan = planned(with_gaps(tmp_path), missing="drop")
    kept = [row for row in ROWS if row not in (3, 5)]
    assert [plan.header.classes[int(sample.label)] for sample in plan.plan["all"]] == [LABELS[row] for row in kept]
    assert names(plan) == ["a", "z"]


def test_arrays_that_are_dropped_keep_their_order(tmp_path: Path) -> None:
    audio: Any = np.arange(COUNT * 2.0).reshape(COUNT, 2)
    audio[0] = np.nan
    plan = planned(archive(tmp_path, audio=audio), missing="drop")
    assert plan.read(0)["audio"].tolist() == [2.0, 3.0]
