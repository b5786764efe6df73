"""Shapley values: the axioms on random games, the estimators, absence, normalisation, ties, memory between batches."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import msam.objective.evaluation
from msam import Contributions, FusionModel, Objective, Shapley, shapley
from msam.attribution import (
    Design,
    accuracy,
    antithetic,
    clamp,
    exact,
    leader,
    log_likelihood,
    probability,
    raw,
    softmax,
)
from msam.coalition import ABSENT, lattice
from zoo import NAMES, WIDTHS, Opaque, batch, model, same, state

TIGHT = 1e-12
"""Values of games are at most 10 and at most 63 of them are summed in float64: errors stay near 1e-14."""


# ---- games: worth of each coalition, at the index whose bits are its members; that of no modality is zero -----------


def worth(game: Tensor, masks: Tensor) -> Tensor:
    return game[(masks.long() * 2 ** torch.arange(masks.shape[1])).sum(1)]


def solved(design: Design, game: Tensor) -> Tensor:
    return design.weights @ worth(game, design.masks)


def players(game: Tensor) -> int:
    return int(math.log2(len(game)))


def over_permutations(game: Tensor) -> Tensor:
    """The definition: marginal contribution on joining, averaged over all orders of joining."""
    count = players(game)
    values, table = [0.0] * count, game.tolist()
    for order in permutations(range(count)):
        coalition = 0
        for player in order:
            values[player] += table[coalition | 1 << player] - table[coalition]
            coalition |= 1 << player
    return torch.tensor(values, dtype=torch.float64) / math.factorial(count)


def members(count: int) -> Tensor:
    """`[2**count, count]`: whether each player is in the coalition at each index."""
    return (torch.arange(2**count)[:, None] >> torch.arange(count)) % 2 == 1


def swapped(game: Tensor, first: int, second: int) -> Tensor:
    columns = list(range(players(game)))
    columns[first], columns[second] = second, first
    return worth(game, members(len(columns))[:, columns])


numbers = st.floats(-10, 10, width=32)


@st.composite
def games(draw: st.DrawFn, low: int = 1, high: int = 5) -> Tensor:
    count = draw(st.integers(low, high))
    values = draw(st.lists(numbers, min_size=2**count - 1, max_size=2**count - 1))
    return torch.tensor([0.0, *values], dtype=torch.float64)


@st.composite
def pairwise_games(draw: st.DrawFn) -> Tensor:
    count = draw(st.integers(1, 6))
    own = torch.tensor(draw(st.lists(numbers, min_size=count, max_size=count)), dtype=torch.float64)
    pairs = torch.tensor(draw(st.lists(numbers, min_size=count**2, max_size=count**2)), dtype=torch.float64)
    present = members(count).double()
    return present @ own + torch.einsum("si,ij,sj->s", present, pairs.view(count, count).triu(1), present)


@st.composite
def designs(draw: st.DrawFn, count: int) -> Design:
    if draw(st.booleans()):
        return exact(count)
    return antithetic(draw(st.lists(st.permutations(range(count)), min_size=1, max_size=3)))


# ---- axioms ---------------------------------------------------------------------------------------------------------


@given(st.data())
def test_efficiency_values_sum_to_the_worth_of_all(data: st.DataObject) -> None:
    game = data.draw(games())
    found = solved(data.draw(designs(players(game))), game)
    assert abs(found.sum() - game[-1]) < TIGHT


@given(st.data())
def test_null_player_gets_nothing(data: st.DataObject) -> None:
    game = data.draw(games())
    player = data.draw(st.integers(0, players(game) - 1))
    without = torch.arange(len(game)) & ~(1 << player)
    found = solved(data.draw(designs(players(game))), game[without])
    assert abs(found[player]) < TIGHT


@given(st.data())
def test_linearity_values_of_a_mixture_are_the_mixture_of_values(data: st.DataObject) -> None:
    left = data.draw(games())
    right = torch.tensor([0.0, *data.draw(st.lists(numbers, min_size=len(left) - 1, max_size=len(left) - 1))]).double()
    design, a, b = data.draw(designs(players(left))), data.draw(numbers), data.draw(numbers)
    mixture = solved(design, a * left + b * right)
    parts = a * solved(design, left) + b * solved(design, right)
    assert (mixture - parts).abs().max() < 100 * TIGHT  # factors of up to ten twice


def test_worked_numbers_of_three_players() -> None:
    """An additive game gives back its addends; where only numbers count, all get the same."""
    addends = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    assert torch.allclose(solved(exact(3), members(3).double() @ addends), addends, atol=TIGHT)
    by_number = torch.tensor([0.0, 1.0, 4.0, 9.0], dtype=torch.float64)[members(3).sum(1)]
    assert torch.allclose(solved(exact(3), by_number), torch.full((3,), 3.0, dtype=torch.float64), atol=TIGHT)


@given(games(low=2), st.data())
def test_symmetry_exchangeable_players_get_the_same(game: Tensor, data: st.DataObject) -> None:
    first, second = data.draw(st.permutations(range(players(game))))[:2]
    symmetric = (game + swapped(game, first, second)) / 2
    found = solved(exact(players(game)), symmetric)
    assert abs(found[first] - found[second]) < TIGHT


@given(games(low=2), st.data())
def test_relabelling_players_relabels_their_values(game: Tensor, data: st.DataObject) -> None:
    first, second = data.draw(st.permutations(range(players(game))))[:2]
    found, other = solved(exact(players(game)), game), solved(exact(players(game)), swapped(game, first, second))
    found[[first, second]] = found[[second, first]]
    assert (found - other).abs().max() < TIGHT


@given(games())
def test_exact_is_the_average_over_permutations(game: Tensor) -> None:
    assert (solved(exact(players(game)), game) - over_permutations(game)).abs().max() < TIGHT


def test_exact_is_the_average_over_permutations_for_six() -> None:
    game = torch.randn(64, dtype=torch.float64)
    game[0] = 0
    assert (solved(exact(6), game) - over_permutations(game)).abs().max() < TIGHT


# ---- the worth of no modality is zero -------------------------------------------------------------------------------


@given(games(low=2, high=2))
def test_two_modalities_by_the_closed_form(game: Tensor) -> None:
    """Phi_1 = (v(12) - v(2) + v(1)) / 2; the difference is that of the modalities alone."""
    _, one, two, both = game
    found = solved(exact(2), game)
    assert (found - torch.stack([both - two + one, both - one + two]) / 2).abs().max() < TIGHT
    assert abs(found[0] - found[1] - (one - two)) < TIGHT


@given(games(), numbers)
def test_worth_of_no_modality_shifts_all_values_alike(game: Tensor, empty: float) -> None:
    """v(S) - v(empty) for every S instead of v(S): each value less v(empty) / M, so the argmax is the same."""
    design = exact(players(game))
    shifted = design.weights @ (worth(game, design.masks) - empty)
    assert (shifted - (solved(design, game) - empty / players(game))).abs().max() < TIGHT


def test_dropping_the_empty_coalition_as_printed_in_equation_17_would_not_sum_to_the_whole() -> None:
    """What the paper prints against what it wants; the reason for the reading taken here."""
    game = torch.randn(8, dtype=torch.float64)
    game[0] = 0
    alone = game[[1, 2, 4]]
    printed = solved(exact(3), game) - alone / 3
    assert abs(printed.sum() - (game[-1] - alone.mean())) < TIGHT
    assert abs(printed.sum() - game[-1]) > 0.01


# ---- sampled orders -------------------------------------------------------------------------------------------------


@given(pairwise_games(), st.data())
def test_antithetic_pair_is_exact_on_pairwise_games_for_any_order(game: Tensor, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(players(game))))
    found = solved(antithetic([order]), game)
    assert (found - solved(exact(players(game)), game)).abs().max() < 10 * TIGHT  # worths of up to 200


@given(games(high=4))
def test_antithetic_is_unbiased_its_mean_over_all_orders_is_exact(game: Tensor) -> None:
    orders = list(permutations(range(players(game))))
    mean = torch.stack([solved(antithetic([order]), game) for order in orders]).mean(0)
    assert (mean - solved(exact(players(game)), game)).abs().max() < TIGHT
    assert (mean - solved(antithetic(orders), game)).abs().max() < TIGHT


def test_antithetic_errs_where_three_interact() -> None:
    game = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1], dtype=torch.float64)
    assert solved(antithetic([(0, 1, 2)]), game).tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_antithetic_values_two_coalitions_a_modality_and_order(count: int) -> None:
    orders = [torch.randperm(count).tolist() for _ in range(3)]
    design = antithetic(orders)
    assert design.masks.shape == (6 * count, count)
    assert design.masks.any(1).all()


# ---- a model that plays any game: its one logit is the coalition's index --------------------------------------------


class Bits(nn.Module):
    """Modality i contributes 2**i where it is present and zero where its feature is zero."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({f"m{i:02}": nn.Identity() for i in range(count)})

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return sum(2**i * feature for i, feature in enumerate(features.values()))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encoder(inputs[name]) for name, encoder in self.encoders.items()})


class Played:
    """A value function that looks the coalition up, and remembers how many were asked for."""

    def __init__(self, *games: Tensor | Sequence[float]) -> None:
        self.games = [torch.as_tensor(game, dtype=torch.float64) for game in games]
        self.asked: list[int] = []

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        game = self.games[len(self.asked) % len(self.games)]
        self.asked.append(len(logits))
        return game[logits[:, 0, 0].long()]


def play(attribution: Shapley, count: int) -> Contributions:
    inputs = {f"m{i:02}": torch.ones(2, 1) for i in range(count)}
    return attribution(Objective(Bits(count), F.cross_entropy), inputs, torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("estimator", ["auto", "exact"])
def test_values_of_a_model_are_those_of_its_game(count: int, estimator: Any) -> None:
    game = torch.randn(2**count, dtype=torch.float64)
    game[0] = 0
    found = play(Shapley(value=Played(game), estimator=estimator), count)
    assert (found.shapley - over_permutations(game)).abs().max() < TIGHT
    assert found.dominant == f"m{int(over_permutations(game).argmax()):02}"
    assert found.modalities == tuple(f"m{i:02}" for i in range(count))


@pytest.mark.parametrize(
    ("count", "estimator", "pairs", "asked"),
    [
        (6, "auto", 1, 63),
        (7, "auto", 1, 14),
        (16, "auto", 1, 32),
        (16, "auto", 3, 96),
        (7, "exact", 1, 127),
        (2, "antithetic", 1, 4),
        (1, "antithetic", 2, 4),
    ],
)
def test_number_of_coalitions_valued(count: int, estimator: Any, pairs: int, asked: int) -> None:
    value = Played(members(count).double().sum(1) if count < 16 else torch.ones(2**16))
    play(Shapley(value=value, estimator=estimator, pairs=pairs), count)
    assert value.asked == [asked]


def test_a_model_that_must_be_run_for_each_coalition_is_sampled_above_four_modalities() -> None:
    shapes = []

    def value(logits: Tensor, target: Tensor) -> Tensor:
        shapes.append(len(logits))
        return accuracy(logits, target)

    for count in (4, 5):
        shapley(Objective(Opaque(model(count)), F.cross_entropy), *batch(count), value=value)
    assert shapes == [15, 10]


def test_sampled_orders_are_uniform_and_repeatable() -> None:
    """300 draws of the six orders of three, fifty each on average: 10 is six standard deviations below."""
    drawn: list[dict[str, int]] = []
    for seed in (0, 1):
        attribution, seen = Shapley(estimator="antithetic", value=Played(torch.ones(8)), seed=seed), []
        for _ in range(300):
            masks = attribution.design(Objective(Bits(3), F.cross_entropy), 3).masks
            seen.append(str(masks[:3].sum(0).tolist()))
            play(attribution, 3)
        drawn.append({key: seen.count(key) for key in seen})
        assert len(drawn[-1]) == 6
        assert min(drawn[-1].values()) > 10
    assert drawn[0] != drawn[1]


def test_sampled_values_are_those_of_the_refresh_whatever_was_done_before() -> None:
    game = torch.randn(8, dtype=torch.float64)
    game[0] = 0
    first, second = (Shapley(value=Played(game), estimator="antithetic") for _ in range(2))
    torch.manual_seed(1)
    left = [play(first, 3).values for _ in range(5)]
    torch.manual_seed(2)
    assert left == [play(second, 3).values for _ in range(5)]
    assert len({str(values) for values in left}) > 1


def test_the_same_refresh_draws_the_same_however_many_calls_lie_in_between() -> None:
    game = torch.randn(8, dtype=torch.float64)
    game[0] = 0
    found = []
    for every in (1, 3):
        attribution = Shapley(value=Played(game), estimator="antithetic", every=every)
        found.append([play(attribution, 3).values for _ in range(5 * every)][::every])
    assert found[0] == found[1]


# ---- value functions ------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[[0.0, math.log(3)], [math.log(4), 0.0]], [[0.0, 0.0], [0.0, math.log(9)]]])
TARGET = torch.tensor([1, 0])


def test_value_functions_by_hand() -> None:
    """Two coalitions, two samples; probabilities of the true classes 3/4, 4/5 and 1/2, 1/10."""
    assert accuracy(LOGITS, TARGET).tolist() == [1, 0]
    # float32 logits
    assert probability(LOGITS, TARGET).tolist() == pytest.approx([0.775, 0.3], rel=1e-6)
    assert log_likelihood(LOGITS, TARGET).tolist() == pytest.approx([math.log(0.6) / 2, math.log(0.05) / 2], rel=1e-6)


def test_value_functions_are_computed_in_double_precision_from_any_logits() -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        for value in (accuracy, probability, log_likelihood):
            assert value(LOGITS.to(dtype), TARGET).dtype == torch.float64


def test_samples_that_the_criterion_ignores_are_worth_nothing() -> None:
    target = torch.tensor([1, -100])
    assert accuracy(LOGITS, target).tolist() == [0.5, 0]
    assert probability(LOGITS, target).tolist() == pytest.approx([0.375, 0.25], rel=1e-6)
    assert log_likelihood(LOGITS, target).tolist() == pytest.approx([math.log(0.75) / 2, math.log(0.5) / 2], rel=1e-6)
    inputs, target = batch(2)
    assert shapley(Objective(model(2), F.cross_entropy), inputs, target.index_fill(0, torch.arange(3), -100)).values


@pytest.mark.parametrize("value", ["accuracy", "probability"])
@pytest.mark.parametrize(
    ("target", "shape"), [(torch.zeros(12), "float32"), (torch.zeros(12, 4, dtype=torch.long), r"\[12, 4\]")]
)
def test_values_that_need_classes_refuse_other_targets(value: Any, target: Tensor, shape: str) -> None:
    objective = Objective(model(2), lambda logits, target: logits.square().mean())
    with pytest.raises(ValueError, match=rf"need class indices \[batch\].*found targets .*{shape}.*use value='loss'"):
        shapley(objective, batch(2)[0], target, value=value)


def test_value_loss_takes_any_target_and_sums_to_what_all_modalities_gain() -> None:
    """Loss of no modality less loss of all, whatever the criterion; here a regression."""
    net, (inputs, _) = model(3, "early"), batch(3)
    target = torch.randn(12, 4, dtype=torch.float64)
    found = shapley(Objective(net, F.mse_loss), inputs, target, value="loss")
    net.eval()
    none = net({name: torch.zeros_like(tensor) for name, tensor in inputs.items()})
    gain = F.mse_loss(none, target) - F.mse_loss(net(inputs), target)
    assert found.shapley.sum().item() == pytest.approx(gain.item(), abs=TIGHT)


@pytest.mark.parametrize("wrapped", [False, True])
def test_value_loss_by_hand_for_two_modalities(wrapped: bool) -> None:
    net, (inputs, target) = model(2).eval(), batch(2)
    objective = Objective(Opaque(net) if wrapped else net, F.cross_entropy)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in inputs.items()}
    none, audio, image, both = (
        F.cross_entropy(net(given), target).item()
        for given in (zeros, zeros | {"audio": inputs["audio"]}, zeros | {"image": inputs["image"]}, inputs)
    )
    found = shapley(objective, inputs, target, value="loss").values
    expected = {"audio": (none - audio + image - both) / 2, "image": (none - image + audio - both) / 2}
    assert found == pytest.approx(expected, abs=TIGHT)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.bfloat16])
def test_custom_value_may_count(dtype: torch.dtype) -> None:
    """Halves of whole numbers must survive: the design's weights are never rounded to the value's type."""
    found = play(Shapley(value=lambda logits, target: torch.tensor([1, 0, 1]).to(dtype)), 2)
    assert found.values == {"m00": 1, "m01": 0}
    found = play(Shapley(value=lambda logits, target: torch.tensor([0, 0, 1]).to(dtype)), 2)
    assert found.values == {"m00": 0.5, "m01": 0.5}


@pytest.mark.parametrize(
    ("value", "found"),
    [(lambda z, y: z.mean(), r"\[\]"), (lambda z, y: z.mean(-1), r"\[3, 2\]"), (lambda z, y: 1.0, "float")],
)
def test_custom_value_of_another_shape_is_refused(value: Any, found: str) -> None:
    with pytest.raises(ValueError, match=rf"one number a coalition, a tensor \[3\], found {found};"):
        play(Shapley(value=value), 2)


# ---- normalisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normalize", "values", "weights"),
    [
        (clamp, [3, 1], [0.75, 0.25]),
        (clamp, [3, -1, 1], [0.75, 0, 0.25]),
        (clamp, [-1, -2], [0.5, 0.5]),
        (clamp, [0, 0, 0], [1 / 3] * 3),
        (raw, [3, 1], [0.75, 0.25]),
        (raw, [3, -1], [1.5, -0.5]),
        (raw, [-1, -3], [0.25, 0.75]),
        (raw, [2, -2], [0.5, 0.5]),
        (raw, [0, 0], [0.5, 0.5]),
        (softmax, [math.log(3), 0], [0.75, 0.25]),
        (softmax, [0, 0], [0.5, 0.5]),
    ],
)
def test_normalisations_by_hand(
    normalize: Callable[[Tensor], Tensor], values: list[float], weights: list[float]
) -> None:
    assert normalize(torch.tensor(values, dtype=torch.float64)).tolist() == pytest.approx(weights, abs=1e-15)


@pytest.mark.parametrize("normalize", ["clamp", "raw", "softmax"])
def test_dominant_is_the_largest_value_also_where_its_weight_is_the_smallest(normalize: Any) -> None:
    found = play(Shapley(value=Played([0, -1, -3, -4]), normalize=normalize), 2)
    assert found.values == {"m00": -1, "m01": -3}
    assert found.dominant == "m00"
    assert sum(found.weights.values()) == pytest.approx(1, abs=TIGHT)


@given(games(low=1, high=4))
def test_weights_are_finite_and_sum_to_one_on_any_game(game: Tensor) -> None:
    for normalize in ("clamp", "raw", "softmax"):
        found = play(Shapley(value=Played(game), normalize=normalize), players(game))
        assert torch.isfinite(found.shares).all()
        if normalize != "raw" or abs(found.shapley.sum()) > 1e-3:  # raw weights grow as their sum vanishes
            assert abs(found.shares.sum() - 1) < 1e-9
        assert normalize == "raw" or ((found.shares >= 0) & (found.shares <= 1)).all()


@pytest.mark.parametrize("normalize", ["clamp", "raw", "softmax"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [1, 7])
def test_values_that_are_not_finite_give_finite_repeatable_weights(normalize: Any, bad: float, place: int) -> None:
    game = torch.linspace(0, 0.7, 8, dtype=torch.float64)
    game[place] = bad
    found = [play(Shapley(value=Played(game), normalize=normalize), 3) for _ in range(2)]
    assert found[0].weights == found[1].weights
    assert found[0].dominant == found[1].dominant
    assert sum(found[0].weights.values()) == pytest.approx(1, abs=TIGHT)


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("value", ["accuracy", "probability", "loss"])
def test_nan_logits_give_finite_repeatable_weights(fusion: str, value: Any) -> None:
    net, (inputs, target) = model(3, fusion), batch(3)
    inputs["image"][2] = math.nan
    found = [shapley(Objective(net, F.cross_entropy), inputs, target, value=value) for _ in range(2)]
    assert found[0].weights == found[1].weights
    assert found[0].dominant == found[1].dominant
    assert sum(found[0].weights.values()) == pytest.approx(1, abs=TIGHT)


# ---- all wrong, ties, one modality ----------------------------------------------------------------------------------


class Known(nn.Module):
    """A fusion whose logits are the sum of its inputs."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: nn.Identity() for name in names})

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return sum(features.values())

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse(inputs)


def known(inputs: dict[str, list[list[float]]], target: list[int], attribution: Shapley | None = None) -> Contributions:
    """Contributions where each modality's logits are given."""
    tensors = {name: torch.tensor(rows) for name, rows in inputs.items()}
    return (attribution or Shapley())(Objective(Known(list(inputs)), F.cross_entropy), tensors, torch.tensor(target))


@pytest.mark.parametrize("order", list(permutations(("a", "b", "c"))))
def test_batch_that_is_all_wrong_has_equal_weights_and_the_least_wrong_modality(order: tuple[str, ...]) -> None:
    wrong = {"a": [[2.0, 0.0]] * 2, "b": [[1.0, 0.0]] * 2, "c": [[3.0, 0.0]] * 2}
    found = known({name: wrong[name] for name in order}, [1, 1])
    assert set(found.values.values()) == {0.0}
    assert found.weights == pytest.approx(dict.fromkeys(order, 1 / 3), abs=1e-15)
    assert found.dominant == "b"


@pytest.mark.parametrize("order", list(permutations(("a", "b", "c"))))
def test_tie_goes_to_the_larger_likelihood_whatever_the_order(order: tuple[str, ...]) -> None:
    right = {"a": [[2.0, 0.0]] * 2, "b": [[1.0, 0.0]] * 2, "c": [[3.0, 0.0]] * 2}
    found = known({name: right[name] for name in order}, [0, 0])
    assert found.values == pytest.approx(dict.fromkeys(order, 1 / 3), abs=1e-15)
    assert found.dominant == "c"


@pytest.mark.parametrize("order", list(permutations(("a", "b", "c"))))
@pytest.mark.parametrize("leading", ["a", "b", "c"])
def test_full_tie_goes_to_the_previously_dominant_whatever_the_order(order: tuple[str, ...], leading: str) -> None:
    attribution = Shapley()
    known({name: [[1.0 + (name == leading), 0.0]] * 2 for name in order}, [0, 0], attribution)
    for _ in range(3):
        assert known({name: [[1.0, 0.0]] * 2 for name in order}, [0, 0], attribution).dominant == leading


def test_previously_dominant_stands_back_where_it_does_not_lead() -> None:
    attribution = Shapley()
    known({"a": [[1.0, 0.0]], "b": [[1.0, 0.0]], "c": [[2.0, 0.0]]}, [0], attribution)
    found = known({"a": [[1.0, 0.0]], "b": [[1.0, 0.0]], "c": [[0.0, 0.0]]}, [0], attribution)
    assert found.dominant == "a"


@pytest.mark.parametrize(
    ("values", "soft", "previous", "leads"),
    [
        ([0.1, 0.3, 0.2], [9, 0, 9], 0, 1),
        ([0.3, 0.3, 0.2], [0, 1, 9], 0, 1),
        ([0.3, 0.3, 0.3], [1, 1, 0], 1, 1),
        ([0.3, 0.3, 0.3], [1, 1, 0], 2, 0),
        ([0.3, 0.3, 0.3], [1, 1, 0], None, 0),
        ([0.3, 0.3 + 5e-7, 0.2], [1, 0, 0], None, 0),
        ([0.3, 0.3 + 5e-6, 0.2], [1, 0, 0], None, 1),
        ([-0.3, -0.1], [0, 0], None, 1),
        ([0.3, 0.3], [-1e30, -2e30], None, 0),
    ],
)
def test_leader_by_hand(values: list[float], soft: list[float], previous: int | None, leads: int) -> None:
    before = None if previous is None else torch.tensor(previous)
    found = leader(torch.tensor(values, dtype=torch.float64), torch.tensor(soft, dtype=torch.float64), before)
    assert found.item() == leads


@pytest.mark.parametrize("value", ["accuracy", "probability", "loss"])
@pytest.mark.parametrize("normalize", ["clamp", "raw", "softmax"])
def test_single_modality_has_all_the_weight(value: Any, normalize: Any) -> None:
    found = shapley(Objective(model(1), F.cross_entropy), *batch(1), value=value, normalize=normalize)
    assert found.weights == {"audio": 1.0}
    assert found.dominant == "audio"


# ---- what an absent modality looks like, against whole masked passes ------------------------------------------------


def naive(net: FusionModel, inputs: dict[str, Tensor], absent: str, seed: int) -> Tensor:
    """Every coalition by a whole pass in evaluation mode, one at a time."""
    net = copy.deepcopy(net).eval()
    generator = torch.Generator().manual_seed(seed)
    partner = {name: torch.randperm(len(tensor), generator=generator) for name, tensor in inputs.items()}
    replaced: dict[str, Callable[[str], Tensor]] = {
        "zero-input": lambda name: net.encoders[name](torch.zeros_like(inputs[name])),
        "zero-feature": lambda name: torch.zeros_like(net.encoders[name](inputs[name])),
        "mean-feature": lambda name: net.encoders[name](inputs[name]).mean(0).expand(len(inputs[name]), -1),
        "shuffle": lambda name: net.encoders[name](inputs[name][partner[name]]),
    }
    rows = []
    for mask in lattice(len(inputs)).tolist():
        present = dict(zip(inputs, mask, strict=True))
        features = {m: net.encoders[m](x) if present[m] else replaced[absent](m) for m, x in inputs.items()}
        rows.append(net.fuse(features))
    return torch.stack(rows).detach()


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("fusion", ["late", "early", "opaque"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_coalitions_equal_whole_masked_passes(absent: Any, fusion: str, count: int) -> None:
    net, (inputs, _) = model(count, "late" if fusion == "opaque" else fusion), batch(count)
    shown = Objective(Opaque(net) if fusion == "opaque" else net, F.cross_entropy)
    generator = torch.Generator().manual_seed(5)
    if fusion == "opaque" and "feature" in absent:
        with pytest.raises(ValueError, match="exposes no `encoders`"):
            shown.coalition_logits(inputs, lattice(count), absent, generator=generator)
        return
    found = shown.coalition_logits(inputs, lattice(count), absent, generator=generator)
    torch.testing.assert_close(found, naive(net, inputs, absent, 5), rtol=0, atol=TIGHT)


def test_zero_input_of_a_model_that_shows_only_forward_is_the_masked_input() -> None:
    net, (inputs, _) = model(2, "early").eval(), batch(2)
    found = Objective(Opaque(net), F.cross_entropy).coalition_logits(inputs, lattice(2), "zero-input")
    zeros = {name: torch.zeros_like(tensor) for name, tensor in inputs.items()}
    expected = [net(zeros | {"audio": inputs["audio"]}), net(zeros | {"image": inputs["image"]}), net(inputs)]
    assert torch.equal(found, torch.stack(expected))


class Closed(FusionModel):
    """A late fusion that does not say that it is additive."""

    partial = None


@pytest.mark.parametrize("absent", ABSENT)
def test_additive_closed_form_equals_fused_coalitions(absent: Any) -> None:
    net, (inputs, _) = model(4), batch(4)
    closed = Closed(net.encoders, net.fusion)
    objectives = [Objective(each, F.cross_entropy) for each in (net, closed)]
    assert ["additive_fusion" in objective.capabilities for objective in objectives] == [True, False]
    summed, fused = (
        objective.coalition_logits(inputs, lattice(4), absent, generator=torch.Generator().manual_seed(2))
        for objective in objectives
    )
    torch.testing.assert_close(summed, fused, rtol=0, atol=TIGHT)


def test_coalitions_in_pieces_equal_coalitions_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, (inputs, _) = Objective(model(3, "early"), F.cross_entropy), batch(3)
    whole = objective.coalition_logits(inputs, lattice(3), "mean-feature")
    for rows in (1, 24, 40):
        monkeypatch.setattr(msam.objective.evaluation, "_ROWS", rows)
        pieces = objective.coalition_logits(inputs, lattice(3), "mean-feature")
        torch.testing.assert_close(pieces, whole, rtol=0, atol=TIGHT)  # a product of another size may round otherwise


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("value", ["accuracy", "probability"])
def test_shapley_values_by_definition_from_whole_masked_passes(absent: Any, fusion: str, value: Any) -> None:
    net, (inputs, target) = model(3, fusion), batch(3)
    logits = naive(net, inputs, absent, 0)
    correct = logits.softmax(-1)[:, torch.arange(12), target] if value == "probability" else logits.argmax(-1) == target
    game = torch.zeros(8, dtype=torch.float64)
    game[(lattice(3).long() * torch.tensor([1, 2, 4])).sum(1)] = correct.double().mean(-1)
    found = shapley(Objective(net, F.cross_entropy), inputs, target, value=value, absent=absent, seed=0)
    assert (found.shapley - over_permutations(game)).abs().max() < TIGHT


# ---- strict and reused features -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_given_features_are_used_as_they_are_and_strict_encodes_again(fusion: str) -> None:
    net, (inputs, target) = model(3, fusion), batch(3)
    objective, value = Objective(net, F.cross_entropy), "probability"
    torch.manual_seed(4)
    training = {name: encoder(inputs[name]) for name, encoder in net.encoders.items()}
    plain = Shapley(value)(objective, inputs, target).values
    assert Shapley(value, strict=True)(objective, inputs, target, training).values == plain
    assert Shapley(value)(objective, inputs, target, objective.features(inputs)).values == plain
    assert Shapley(value)(objective, inputs, target, {}).values == plain  # could not be observed
    reused = Shapley(value)(objective, inputs, target, training).values
    assert all(abs(reused[name] - plain[name]) > 1e-4 for name in plain)  # dropout and batch statistics differ
    logits = objective.coalition_logits(inputs, lattice(3), "zero-input", training)
    net.eval()
    torch.testing.assert_close(logits[-1], net.fuse(training), rtol=0, atol=TIGHT)


def test_reused_features_spare_the_encoders_all_but_one_sample_of_zeros() -> None:
    net, (inputs, target) = model(2), batch(2)
    training = {name: encoder(inputs[name]).detach() for name, encoder in net.encoders.items()}
    seen: list[int] = []

    def note(module: nn.Module, arguments: Any) -> None:
        if module in net.encoders.values():
            seen.append(len(arguments[0]))

    objective = Objective(net, F.cross_entropy)
    Shapley()(objective, inputs, target, training)  # the first batch, which tests what is assumed of the model
    handle = register_module_forward_pre_hook(note)  # what a hook of the model's own has noted would be taken back
    try:
        Shapley()(objective, inputs, target, training)
        assert seen == [1, 1]
        seen.clear()
        Shapley(absent="mean-feature")(objective, inputs, target, training)
        assert seen == []
        Shapley(absent="mean-feature", strict=True)(objective, inputs, target, training)
        assert seen == [12, 12]
    finally:
        handle.remove()


# ---- between batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_refreshes_on_the_first_of_so_many_calls_and_keeps_the_values_in_between(every: int) -> None:
    value = Played([0, 1, 0, 1], [0, 0, 2, 2], [0, 3, 0, 3])
    attribution = Shapley(value=value, every=every)
    found = [play(attribution, 2).values for _ in range(3 * every)]
    assert len(value.asked) == 3
    expected = [{"m00": 1, "m01": 0}, {"m00": 0, "m01": 2}, {"m00": 3, "m01": 0}]
    assert found == [values for values in expected for _ in range(every)]


def test_momentum_is_the_share_of_the_running_mean() -> None:
    attribution = Shapley(value=Played([0, 4, 0, 4], [0, 0, 8, 8], [0, 0, 0, 0]), momentum=0.75)
    found = [list(play(attribution, 2).values.values()) for _ in range(3)]
    assert found == [[4, 0], [3, 2], [2.25, 1.5]]


def test_dominance_follows_the_running_mean() -> None:
    attribution = Shapley(value=Played([0, 4, 0, 4], [0, 0, 8, 8], [0, 0, 8, 8]), momentum=0.75)
    assert [play(attribution, 2).dominant for _ in range(3)] == ["m00", "m00", "m01"]


def test_momentum_moves_once_a_refresh() -> None:
    attribution = Shapley(value=Played([0, 4, 0, 4], [0, 0, 8, 8]), momentum=0.5, every=2)
    assert [play(attribution, 2).values["m01"] for _ in range(4)] == [0, 0, 4, 4]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"every": 3},
        {"momentum": 0.6},
        {"estimator": "antithetic", "every": 2, "momentum": 0.3},
        {"absent": "shuffle", "value": "loss"},
    ],
)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_state_saved_and_loaded_continues_identically(options: dict[str, Any], stop: int) -> None:
    objective, batches = Objective(model(3), F.cross_entropy), [batch(3, seed=seed) for seed in range(6)]
    attribution = Shapley(**options)
    for data in batches[:stop]:
        attribution(objective, *data)
    file = io.BytesIO()
    torch.save(attribution.state_dict(), file)
    file.seek(0)
    fresh = Shapley(**options)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    for data in batches[stop:]:
        left, right = attribution(objective, *data), fresh(objective, *data)
        assert torch.equal(left.shapley, right.shapley)
        assert torch.equal(left.index, right.index)


def test_state_before_the_first_batch_round_trips() -> None:
    fresh = Shapley()
    fresh.load_state_dict(Shapley().state_dict())
    assert play(fresh, 2).modalities == ("m00", "m01")


# ---- looking without touching ---------------------------------------------------------------------------------------


class Careless(nn.Module):
    """Draws, and writes to a buffer, in evaluation mode too."""

    def __init__(self, inner: FusionModel) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("calls", torch.zeros(()))

    @property
    def encoders(self) -> nn.ModuleDict:
        return self.inner.encoders

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        return F.dropout(self.inner.fuse(features), 0.5)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encoder(inputs[name]) for name, encoder in self.encoders.items()})


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("kind", ["late", "early", "opaque", "careless", "careless opaque"])
def test_shapley_leaves_the_model_and_the_random_stream_untouched(absent: Any, kind: str) -> None:
    net = model(2, "early" if kind == "early" else "late")
    net.encoders["audio"].eval()
    net.encoders["image"][0].requires_grad_(False)
    shown: nn.Module = Careless(net) if "careless" in kind else net
    shown = Opaque(shown) if "opaque" in kind else shown
    if "opaque" in kind and "feature" in absent:
        pytest.skip("a model without encoders has no features")
    before = state(shown)
    found = shapley(Objective(shown, F.cross_entropy), *batch(2), absent=absent)
    assert same(state(shown), before)
    assert all(weight.grad is None for weight in shown.parameters())
    assert not found.shapley.requires_grad


def test_shapley_leaves_everything_also_when_the_value_raises() -> None:
    net = model(2)

    def value(logits: Tensor, target: Tensor) -> Tensor:
        raise KeyError("stop")

    before = state(net)
    with pytest.raises(KeyError):
        shapley(Objective(net, F.cross_entropy), *batch(2), value=value)
    assert same(state(net), before)


def test_shapley_leaves_a_graph_that_was_made_before_usable() -> None:
    net, (inputs, target) = model(2), batch(2)
    net.encoders["audio"].eval()  # its frozen statistics are saved for the backward pass
    loss = F.cross_entropy(net(inputs), target)
    shapley(Objective(net, F.cross_entropy), inputs, target)
    loss.backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_shapley_inside_an_autocast_does_not_cut_later_passes_off_the_weights() -> None:
    """A cast made without gradients and kept for the rest of the autocast would."""
    net, (inputs, target) = model(2, dtype=torch.float32), batch(2, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        shapley(Objective(net, F.cross_entropy), inputs, target)
        loss = F.cross_entropy(net(inputs), target)
    loss.backward()
    assert all(weight.grad is not None for weight in net.parameters())


# ---- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"value": "acuracy"}, r"value must be one of \['accuracy', 'probability', 'r2', 'loss'\], found 'acuracy'"),
        ({"absent": "zeros"}, "absent must be one of .*'zero-input'.* found 'zeros'"),
        ({"normalize": "abs"}, "normalize must be one of .*'clamp'.* found 'abs'"),
        ({"estimator": "kernel"}, "estimator must be one of .*'antithetic'.* found 'kernel'"),
        ({"every": 0}, "every >= 1.*every=0"),
        ({"pairs": 0}, "pairs >= 1.*pairs=0"),
        ({"momentum": 1.0}, "momentum < 1.*momentum=1.0"),
        ({"momentum": -0.1}, "momentum < 1.*momentum=-0.1"),
        ({"momentum": math.nan}, "momentum < 1.*momentum=nan"),
    ],
)
def test_argument_out_of_its_range_is_refused_in_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Shapley(**options)


def test_canonical_order_is_the_encoders_not_the_inputs() -> None:
    net, (inputs, target) = model(3), batch(3)
    found = shapley(Objective(net, F.cross_entropy), dict(reversed(inputs.items())), target, value="probability")
    assert found.modalities == NAMES[:3]
    assert found.values == shapley(Objective(net, F.cross_entropy), inputs, target, value="probability").values


def test_integer_inputs_are_absent_as_token_zero() -> None:
    net = FusionModel(
        {"text": nn.Sequential(nn.Embedding(9, 6), nn.Flatten(), nn.Linear(18, 6)), "image": nn.Linear(WIDTHS[1], 6)},
        model(2, dtype=torch.float32).fusion.requires_grad_(False),
    )
    net.fusion.heads = nn.ModuleDict({"text": net.fusion.heads["audio"], "image": net.fusion.heads["image"]})
    inputs = {"text": torch.randint(1, 9, (12, 3)), "image": torch.randn(12, WIDTHS[1])}
    target = torch.randint(4, (12,))
    found = shapley(Objective(net, F.cross_entropy), inputs, target, value="loss")
    masked = net(inputs | {"text": torch.zeros_like(inputs["text"])}), net(inputs)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in inputs.items()}
    losses = [F.cross_entropy(z, target).item() for z in (*masked, net(zeros), net(zeros | {"text": inputs["text"]}))]
    without, whole, none, alone = losses
    assert found.values["text"] == pytest.approx((none - alone + without - whole) / 2, abs=1e-6)  # float32
