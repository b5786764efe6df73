"""Odd batches and odd models, for every method: numbers that are none, one sample, nothing right, nothing to train.

The contract: weights are what they were, what plain training would survive is survived, and a batch that went wrong
leaves nothing behind in the method.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contract.test_methods import METHODS, fits, make
from msam import PMR, LateFusion
from zoo import CLASSES, batch, close, encoder, gradients, model, run, same, state

OWN_LOSS = ("reconboost", "reconboost-memory", "reconboost-code", "reconboost-growing")
"""Their loss is their own, so that a criterion that is no number does not reach the gradient."""
TEACHERS = ("umt-given",)
"""Teachers are given for the inputs of `batch`, and know no others."""
JOINING = [name for name in METHODS if name not in TEACHERS]


def finite(net: nn.Module) -> bool:
    return all(bool(torch.isfinite(gradient).all()) for gradient in gradients(net).values())


# ---- numbers that are none ------------------------------------------------------------------------------------------


def spoilt(what: str) -> tuple[dict[str, Tensor], Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """A batch and a criterion of which one gives numbers that are none."""
    inputs, target = batch(2)
    factor = {"nan loss": float("nan"), "infinite loss": float("inf")}.get(what, 1.0)
    if what == "nan input":
        inputs["audio"][3, 1] = float("nan")
    if what == "infinite input":
        inputs["audio"][3] = float("inf")
    return inputs, target, lambda z, y: F.cross_entropy(z, y) * factor


@pytest.mark.parametrize("what", ["nan input", "infinite input", "nan loss", "infinite loss", "nan gradient"])
@pytest.mark.parametrize("name", METHODS)
def test_a_batch_without_numbers_is_as_in_plain_training_and_leaves_no_trace(name: str, what: str) -> None:
    """Weights stay; loss and gradients tell, so that a scaler skips the step; the next batches are as good as ever."""
    net, method = model(2, noisy=False), make(name)
    before = state(net)["weights"]
    inputs, target, criterion = spoilt(what)
    if what == "nan gradient":  # of a square root at zero: the loss itself is a number
        criterion = lambda z, y: F.cross_entropy(z, y) + (z[0] - z[0].detach()).abs().sqrt().sum()  # noqa: E731
    outcome = method.on(net, criterion)(inputs, target)
    assert all(isinstance(note, (float, str)) for note in outcome.notes.values())
    assert same(state(net)["weights"], before)
    if name not in OWN_LOSS or "input" in what:
        assert not finite(net)
        assert bool(torch.isfinite(outcome.loss)) == (what == "nan gradient")
    for weight in (*net.parameters(), *method.parameters()):
        weight.grad = None
    backward = method.on(net, F.cross_entropy)
    for seed in (1, 2, 3):
        backward(*batch(2, seed=seed))
    assert finite(net)
    assert finite(method)
    assert all(bool(torch.isfinite(value).all()) for value in method.state_dict().values() if isinstance(value, Tensor))


@pytest.mark.parametrize("name", METHODS)
def test_a_scaler_skips_a_batch_without_numbers_and_training_goes_on(name: str) -> None:
    net, method = model(2, noisy=False, dtype=torch.float32), make(name)
    optimizer = torch.optim.SGD([*net.parameters(), *method.parameters()], lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    backward = method.on(net, F.cross_entropy, backward=lambda loss: scaler.scale(loss).backward())
    for seed in range(3):
        inputs, target = batch(2, seed=seed, dtype=torch.float32)
        if seed == 1:
            inputs["audio"][0] = float("nan")
        before = state(net)["weights"]
        backward(inputs, target)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert same(state(net)["weights"], before) == (seed == 1)
    assert all(bool(torch.isfinite(weight).all()) for weight in net.parameters())


# ---- small and hopeless batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_one_sample(name: str, fusion: str) -> None:
    if not fits(name, 2, fusion):
        pytest.skip("refused before training")
    net = model(2, fusion, noisy=False)
    backward = make(name).on(net, F.cross_entropy)
    for seed in range(2):
        outcome = backward(*batch(2, size=1, seed=seed))
        assert finite(net)
        assert torch.isfinite(outcome.loss)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_in_which_nothing_is_right(name: str) -> None:
    net = model(2, noisy=False)
    inputs, _ = batch(2)
    target = net(inputs).argmin(1)
    notes = make(name).on(net, F.cross_entropy)(inputs, target).notes
    assert finite(net)
    assert all(value == value for value in notes.values())
    if name == "msam":
        assert notes["share"] == 0.5  # no modality has earned more than the other


EVERY_ROW = (
    "esam-selecting",
    "pmr-others",
    "reconboost-memory",
    "opm",
    "opm-pairwise",
    "cml",
    "cml-code",
    "msam-encoder-of-cml",
    "lfm",
    "lfm-code",
    "synib",
    "arl",
    "modality-dropout",
    "feature-dropout",
    "feature-dropout-of-mbsd",
)
"""They draw, count or compare rows whether these have a label or not."""


@pytest.mark.parametrize("ignored", [-1, -100])
@pytest.mark.parametrize("name", JOINING)
def test_rows_whose_target_is_ignored_are_as_if_they_were_not_there(name: str, ignored: int) -> None:
    criterion = partial(F.cross_entropy, ignore_index=ignored)
    net, (inputs, target) = model(2, noisy=False), batch(2)
    some = torch.where(torch.arange(12) % 2 == 0, ignored, target)
    found = run(make(name), net, inputs, some, criterion=criterion)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found.values())
    if name not in EVERY_ROW:
        left = {key: tensor[1::2] for key, tensor in inputs.items()}
        assert close(found, run(make(name), net, left, target[1::2], criterion=criterion), 1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_nothing_but_ignored_targets_leaves_no_trace(name: str) -> None:
    """The loss is no number; the gradients are, as in plain training."""
    net, method = model(2, noisy=False), make(name)
    backward = method.on(net, F.cross_entropy)
    inputs, target = batch(2)
    assert not torch.isfinite(backward(inputs, torch.full_like(target, -100)).loss)
    assert finite(net)
    assert finite(method)
    for seed in (1, 2, 3):
        backward(*batch(2, seed=seed))
    assert finite(net)
    assert all(bool(torch.isfinite(value).all()) for value in method.state_dict().values() if isinstance(value, Tensor))


def test_prototypes_are_those_of_the_rows_that_have_a_target() -> None:
    found = []
    inputs, target = batch(2)
    some = torch.where(torch.arange(12) % 2 == 0, -100, target)
    for rows in (slice(None), slice(1, None, 2)):
        part = [({key: tensor[rows] for key, tensor in inputs.items()}, some[rows])]
        method = PMR(part=1.0)
        method.on(model(2, noisy=False), F.cross_entropy).next_epoch(part)
        found.append({f"{i}": centres for i, centres in enumerate(method.get_extra_state()["prototypes"])})
    assert close(*found, tolerance=1e-14)


# ---- odd models -----------------------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """An encoder with nothing to train."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.repeat(1, 2)[:, :6])


def odd(kind: str) -> nn.Module:
    net = model(2, noisy=False)
    if kind == "no parameters":
        net.encoders["audio"] = Fixed()
    for name, part in {"frozen encoder": net.encoders["image"], "frozen fusion": net.fusion}.items():
        if kind == name:
            part.requires_grad_(False)
    if kind == "frozen layer":
        net.encoders["audio"][0].requires_grad_(False)
    return net


@pytest.mark.parametrize("kind", ["no parameters", "frozen encoder", "frozen fusion", "frozen layer"])
@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_trained_receives_nothing_and_the_rest_goes_on(name: str, kind: str) -> None:
    net, method = odd(kind), make(name)
    if (name, kind) == ("cggm-code", "frozen fusion"):
        with pytest.raises(ValueError, match="needs a linear head"):
            method.on(net, F.cross_entropy)
        return
    backward = method.on(net, F.cross_entropy)
    for seed in range(2):
        backward(*batch(2, seed=seed))
    assert finite(net)
    assert gradients(net).keys() <= {key for key, weight in net.named_parameters() if weight.requires_grad}
    assert [weight.requires_grad for weight in net.parameters()] == [
        weight.requires_grad for weight in odd(kind).parameters()
    ]


@pytest.mark.parametrize("whole", [False, True], ids=["a layer", "the encoder"])
@pytest.mark.parametrize("name", METHODS)
def test_encoders_that_share_weights_are_trained_or_refused_before(name: str, whole: bool) -> None:
    net, (inputs, target) = model(2, noisy=False), batch(2)
    if whole:
        net.encoders["image"], inputs["image"] = net.encoders["audio"], inputs["image"][:, :5]
    else:
        net.encoders["image"][2] = net.encoders["audio"][2]
    method = make(name)
    if "separate_encoders" in method.needs:
        with pytest.raises(ValueError, match="share no weights"):
            method.on(net, F.cross_entropy)
        return
    method.on(net, F.cross_entropy)(inputs, target)
    assert finite(net)
    if name == "msam":  # which is SAM with a share, whatever belongs to whom
        assert gradients(net).keys() == {key for key, _ in net.named_parameters()}


# ---- odd tensors ----------------------------------------------------------------------------------------------------


class Words(nn.Module):
    """The mean of embedded words: integer inputs, and gradients that may be sparse."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 6, sparse=sparse)

    def forward(self, words: Tensor) -> Tensor:
        return torch.tanh(self.table(words).mean(1))


class Waves(nn.Module):
    """An encoder of complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = encoder(10, False)

    def forward(self, waves: Tensor) -> Tensor:
        return self.inner(torch.view_as_real(waves).flatten(1))


class Bytes(nn.Module):
    """An encoder of bytes, as pictures are stored."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = encoder(5, False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.inner(pixels.double() / 255)


def other(kind: str, seed: int = 0) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    """A model whose audio is of another kind, and its batch."""
    net, (inputs, target) = model(2, noisy=False), batch(2, seed=seed)
    torch.manual_seed(5)
    encoders: dict[str, Callable[[], nn.Module]] = {"bytes": Bytes, "waves": Waves}
    net.encoders["audio"] = encoders.get(kind, lambda: Words(sparse=kind == "sparse"))().double()
    draw = torch.Generator().manual_seed(seed)
    found = {
        "bytes": torch.randint(256, (12, 5), generator=draw, dtype=torch.uint8),
        "waves": torch.complex(inputs["audio"], inputs["audio"].flip(0)),
    }
    inputs["audio"] = found.get(kind, torch.randint(10, (12, 3), generator=draw))
    return net, inputs, target


@pytest.mark.parametrize("kind", ["words", "bytes", "waves"])
@pytest.mark.parametrize("name", JOINING)
def test_inputs_of_other_kinds_of_numbers(name: str, kind: str) -> None:
    net, inputs, target = other(kind)
    backward = make(name).on(net, F.cross_entropy)
    for _ in range(2):
        backward(inputs, target)
    assert finite(net)
    assert any("audio" in key for key in gradients(net)) or name in OWN_LOSS or name == "opm"


@pytest.mark.parametrize("name", JOINING)
def test_sparse_gradients_are_those_of_a_dense_table(name: str) -> None:
    """Twice, so that the second gradient is added to one that is there."""
    found = []
    for kind in ("sparse", "words"):
        net, inputs, target = other(kind)
        backward = make(name).on(net, F.cross_entropy)
        for seed in range(2):
            torch.manual_seed(seed)
            backward(inputs, target)
        found.append({key: gradient.to_dense() for key, gradient in gradients(net).items()})
        table = net.encoders["audio"].table.weight.grad
        assert table is None or table.is_sparse == (kind == "sparse")  # as an optimizer for either expects
    assert close(*found, tolerance=1e-12)  # sums in another order


class Spectral(nn.Module):
    """An encoder whose weight is complex, or real and as long as two of them."""

    def __init__(self, complex_weight: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        weight = torch.randn(5, 3, dtype=torch.complex128, generator=draw) / 3
        self.weight = nn.Parameter(weight if complex_weight else torch.view_as_real(weight).clone())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.weight.is_complex() else torch.view_as_complex(self.weight)
        return torch.tanh(torch.view_as_real(x.to(weight.dtype) @ weight).flatten(1))


ELEMENTWISE = ("asam", "msam-adaptive", "ogm-ge", "ogm-ge-pairwise", "msam-encoder-of-ogm-ge")
"""They scale by the size of an element, or draw noise a tensor: of a complex number, not of its two parts."""


@pytest.mark.parametrize("name", METHODS)
def test_complex_weights_are_trained_like_the_real_numbers_they_consist_of(name: str) -> None:
    """Norms and products are those of real and imaginary parts side by side, and what is remembered is complex."""
    found = []
    for complex_weight in (True, False):
        net = model(2, noisy=False)
        net.encoders["audio"] = Spectral(complex_weight)
        backward = make(name).on(net, F.cross_entropy)
        for seed in range(4):
            backward(*batch(2, seed=seed))
        found.append({key: torch.view_as_real(g) if g.is_complex() else g for key, g in gradients(net).items()})
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found[0].values())
    assert name in ELEMENTWISE or close(*found, tolerance=1e-13)


@pytest.mark.parametrize("name", METHODS)
def test_non_contiguous_inputs_are_like_any_other(name: str) -> None:
    inputs, target = batch(2)
    turned = {key: tensor.t().contiguous().t() for key, tensor in inputs.items()}
    assert not any(tensor.is_contiguous() for tensor in turned.values())
    net, method = model(2, noisy=False), make(name)
    assert close(run(method, net, turned, target), run(method, net, inputs, target), 1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_non_contiguous_weights_are_like_any_other_and_stay_so(name: str) -> None:
    found = []
    for turned in (False, True):
        net, method = model(2, noisy=False), make(name)
        first: Any = net.encoders["audio"][0]
        if turned:
            first.weight = nn.Parameter(first.weight.detach().t().contiguous().t())
        before, backward = state(net)["weights"], method.on(net, F.cross_entropy)
        for seed in range(4):
            backward(*batch(2, seed=seed))
        assert same(state(net)["weights"], before)
        assert first.weight.stride() == ((1, 8) if turned else (5, 1))
        found.append(gradients(net))
    size = max(1.0, *(float(gradient.abs().max()) for gradient in found[0].values()))  # CGGM's code: of millions
    assert name.startswith("ogm-ge") or close(*found, tolerance=1e-13 * size)  # its noise is drawn as a gradient lies


def test_a_model_without_encoders_that_can_be_told_apart_still_fuses() -> None:
    """Two modalities through one encoder: nothing is separate, and contributions are measured all the same."""
    net, (inputs, target) = model(2, noisy=False), batch(2)
    net.encoders["image"], inputs["image"] = net.encoders["audio"], inputs["audio"]
    net.fusion = LateFusion(dict.fromkeys(("audio", "image"), 6), CLASSES).double()
    with torch.no_grad():
        net.fusion.heads["image"].weight.copy_(net.fusion.heads["audio"].weight)
    notes = make("msam").on(net, F.cross_entropy)(inputs, target).notes
    assert notes["contributions/audio"] == notes["contributions/image"]
