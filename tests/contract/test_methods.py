"""The contract of design section 4: every method x models x numbers of modalities.

A new method joins with its default arguments; other ones are a row of METHODS, and models that it refuses of REFUSES.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msam import (
    AESAM,
    AGM,
    ARL,
    ASAM,
    CGGM,
    CML,
    DGL,
    ESAM,
    FSAM,
    GNP,
    GSAM,
    LFM,
    MASAM,
    MBSD,
    MLA,
    MSAM,
    MSES,
    MSLR,
    OGM,
    OGMGE,
    OPM,
    PDMP,
    PMR,
    SAM,
    UMT,
    Auxiliary,
    FeatureDropout,
    FunctionalSAM,
    GBlending,
    InfoReg,
    Joint,
    LookSAM,
    Method,
    MMCosine,
    MMPareto,
    ModalityDropout,
    MomentumSAM,
    ReconBoost,
    Relearning,
    Shapley,
    SynIB,
    Unimodal,
)
from msam_bench.config.run import MethodConfig
from msam_bench.registry import build, methods
from zoo import CLASSES, NAMES, Opaque, batch, close, gradients, informed, model, run, same, state, teachers

Names = Sequence[str]

METHODS: dict[str, Callable[[Names], Method]] = {
    "joint": lambda names: Joint(),
    "unimodal": lambda names: Unimodal("audio"),
    "sam": lambda names: SAM(rho=0.2),
    "asam": lambda names: ASAM(rho=0.4),
    "gnp": lambda names: GNP(alpha=0.3, rho=0.2),
    "esam": lambda names: ESAM(rho=0.2, gamma=1.0),
    "esam-selecting": lambda names: ESAM(rho=0.2),
    "looksam": lambda names: LookSAM(rho=0.2, every=2),
    "ae-sam": lambda names: AESAM(rho=0.2),
    "f-sam": lambda names: FSAM(rho=0.2),
    "f-sam-code": lambda names: FSAM(rho=0.2, sigma=0.8, faithful="code"),
    "msam": lambda names: MSAM(rho=0.2),
    "msam-adaptive": lambda names: MSAM(rho=0.2, adaptive=True),
    "msam-encoder": lambda names: MSAM(rho=0.2, scope="encoder"),
    "msam-encoder+head": lambda names: MSAM(rho=0.2, scope="encoder+head"),
    "msam-shapley": lambda names: MSAM(rho=0.2, scope="shapley"),
    "msam-random": lambda names: MSAM(rho=0.2, dominant="random"),
    "msam-weakest": lambda names: MSAM(rho=0.2, dominant="weakest"),
    "msam-fixed": lambda names: MSAM(rho=0.2, dominant="audio", scope="encoder"),
    "msam-part": lambda names: MSAM(rho=0.2, part=0.5),
    "msam-encoder-part": lambda names: MSAM(rho=0.2, scope="encoder", part=0.5),
    "msam-every": lambda names: MSAM(rho=0.2, every=2),
    "msam-loss-value": lambda names: MSAM(rho=0.2, attribution=Shapley(value="loss", momentum=0.5)),
    "msam-mean-feature": lambda names: MSAM(rho=0.2, attribution=Shapley(absent="mean-feature", every=2)),
    "msam-shuffle": lambda names: MSAM(
        rho=0.2, attribution=Shapley(absent="shuffle", estimator="antithetic", strict=True)
    ),
    "ogm": lambda names: OGM(),
    "ogm-ge": lambda names: OGMGE(),
    "ogm-ge-pairwise": lambda names: OGMGE(extension="pairwise-mean"),
    "agm": lambda names: AGM(alpha=1.5),
    "agm-code": lambda names: AGM(alpha=1.5, faithful="code"),
    "mmpareto": lambda names: MMPareto(dict.fromkeys(names, 6), CLASSES),
    "mmpareto-code": lambda names: MMPareto(dict.fromkeys(names, 6), CLASSES, faithful="code"),
    "cggm": lambda names: CGGM(dict.fromkeys(names, 6), CLASSES),
    "cggm-code": lambda names: CGGM(dict.fromkeys(names, 6), CLASSES, faithful="code"),
    "masam": lambda names: MASAM(dict.fromkeys(names, 6), CLASSES),
    "masam-code": lambda names: MASAM(dict.fromkeys(names, 6), CLASSES, faithful="code"),
    "pmr": lambda names: informed(PMR(alpha=1.5, faithful="code", part=1.0), names),
    "pmr-others": lambda names: informed(PMR(alpha=1.5, extension="mean-of-others", part=0.5, entropy=0.1), names),
    "mslr": lambda names: informed(MSLR({name: 0.5 + i for i, name in enumerate(names)}, window=2), names, 3),
    "mses": lambda names: informed(MSES(patience=1), names, 3),
    "mses-code": lambda names: informed(MSES(patience=1, faithful="code"), names, 3),
    "g-blending": lambda names: informed(GBlending(dict.fromkeys(names, 6), CLASSES, every=1), names, 2),
    "mmcosine": lambda names: MMCosine(),
    "mla": lambda names: informed(MLA(dict.fromkeys(names, 6), CLASSES), names),
    "mla-code": lambda names: MLA(dict.fromkeys(names, 6), CLASSES, faithful="code"),
    "reconboost": lambda names: ReconBoost(boost=1, rectify=1),
    "reconboost-memory": lambda names: informed(ReconBoost(boost=1, rectify=0), names),
    "reconboost-code": lambda names: ReconBoost(boost=1, rectify=1, faithful="code"),
    "reconboost-growing": lambda names: informed(ReconBoost(boost=1, rectify=1, faithful="code"), names),
    "umt": lambda names: UMT(dict.fromkeys(names, 6), CLASSES, teaching=1),
    "umt-given": lambda names: UMT(teachers=teachers(names)),
    "opm": lambda names: OPM(start=0, execute=1.0),
    "opm-pairwise": lambda names: OPM(start=0, extension="pairwise-mean"),
    "cml": lambda names: CML(weight=2.0),
    "cml-code": lambda names: CML(weight=2.0, faithful="code"),
    "lfm": lambda names: LFM(dict.fromkeys(names, 6), CLASSES),
    "lfm-code": lambda names: LFM(dict.fromkeys(names, 6), CLASSES, faithful="code"),
    "mbsd": lambda names: MBSD(dict.fromkeys(names, 6), CLASSES),
    "dgl": lambda names: DGL(),
    "synib": lambda names: SynIB(beta=2.0),
    "modality-dropout": lambda names: ModalityDropout(rate=0.5),
    "arl": lambda names: ARL(),
    "arl-code": lambda names: ARL(faithful="code"),
    "pdmp": lambda names: PDMP("audio", lead=1.5),
    "inforeg": lambda names: informed(InfoReg(), names),
    "relearning": lambda names: informed(Relearning(every=1, times=1), names),
    "gsam": lambda names: GSAM(rho=0.2),
    "functional-sam": lambda names: FunctionalSAM(rho=0.2),
    "momentum-sam": lambda names: MomentumSAM(rho=0.2),
    "auxiliary": lambda names: Auxiliary(dict.fromkeys(names, 6), CLASSES, weight=0.5),
    "auxiliary-fusion": lambda names: Auxiliary(dict.fromkeys(names, 6), CLASSES, classifiers="fusion"),
    "feature-dropout": lambda names: informed(FeatureDropout(rate=0.4), names),
    "feature-dropout-of-mbsd": lambda names: FeatureDropout(
        rate=0.4, where="all", of=MBSD(dict.fromkeys(names, 6), CLASSES)
    ),
    "msam-modalities": lambda names: MSAM(rho=0.2, scope="modalities", radius="inverse", move_fusion=True),
    "sam-of-agm": lambda names: SAM(rho=0.2, of=AGM(alpha=1.5)),
    "gnp-of-mmpareto": lambda names: GNP(alpha=0.3, rho=0.2, of=MMPareto(dict.fromkeys(names, 6), CLASSES)),
    "msam-encoder-of-cml": lambda names: MSAM(rho=0.2, scope="encoder", of=CML(weight=2.0)),
    "msam-encoder-of-ogm-ge": lambda names: MSAM(rho=0.2, scope="encoder", of=OGMGE(extension="pairwise-mean")),
    "msam-fused-gap": lambda names: informed(
        MSAM(
            rho=0.2,
            scope="modalities",
            radius="gap",
            of=MBSD(dict.fromkeys(names, 6), CLASSES),
            of_part="fused",
        ),
        names,
    ),
    "msam-overfit": lambda names: informed(
        MSAM(rho=0.2, scope="encoder", dominant="overfit", weight=1.0, of=MBSD(dict.fromkeys(names, 6), CLASSES)), names
    ),
    "msam-own-part": lambda names: MSAM(
        rho=0.2, scope="encoder", of=Auxiliary(dict.fromkeys(names, 6), CLASSES), of_part="own"
    ),
}


def _add_rows() -> None:
    """A row with default arguments for every registered method of the library that has none above."""
    covered = {type(make(NAMES[:2])) for make in METHODS.values()}
    for name, entry in methods().items():
        if entry.cls.__module__.startswith("msam.methods.") and entry.cls not in covered:
            METHODS[name] = lambda names, name=name: build(  # type: ignore[misc]
                MethodConfig(name=name), dict.fromkeys(names, 6), CLASSES
            )


_add_rows()
REFUSES: dict[str, Callable[[int, str], bool]] = {
    "msam-encoder+head": lambda count, fusion: fusion == "early" and count > 1,
    "ogm": lambda count, fusion: fusion == "early" or count != 2,
    "ogm-ge": lambda count, fusion: fusion == "early" or count != 2,
    "ogm-ge-pairwise": lambda count, fusion: fusion == "early",
    "cggm-code": lambda count, fusion: fusion == "early" and count > 1,
    "pmr": lambda count, fusion: count != 2,
    "mmcosine": lambda count, fusion: fusion == "early",
    "mla": lambda count, fusion: fusion == "early",
    "mla-code": lambda count, fusion: fusion == "early",
    "reconboost": lambda count, fusion: fusion == "early",
    "reconboost-memory": lambda count, fusion: fusion == "early",
    "reconboost-code": lambda count, fusion: fusion == "early",
    "reconboost-growing": lambda count, fusion: fusion == "early",
    "lfm-code": lambda count, fusion: fusion == "early",
    "opm": lambda count, fusion: fusion == "early" or count != 2,
    "opm-pairwise": lambda count, fusion: fusion == "early",
    "arl": lambda count, fusion: count != 2,
    "msam-encoder-of-ogm-ge": lambda count, fusion: fusion == "early",
}
"""Method -> (number of modalities, fusion) -> whether it says before training that it cannot."""

ELSEWHERE = ("momentum-sam",)
"""Methods whose only pass is at other weights: their loss and running statistics are of that pass."""


def make(name: str, count: int = 2) -> Method:
    return METHODS[name](NAMES[:count])


def weights_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {key: weight.detach() for key, weight in net.named_parameters()}


def fits(name: str, count: int, fusion: str) -> bool:
    return name not in REFUSES or not REFUSES[name](count, fusion)


def cases(*counts: int) -> Any:
    """Every method x number of modalities x fusion that fit together."""
    chosen = [(name, count, fusion) for name in METHODS for count in counts for fusion in ("late", "early")]
    return pytest.mark.parametrize(
        ("name", "count", "fusion"),
        [pytest.param(*case, id="-".join(map(str, case))) for case in chosen if fits(*case)],
    )


@cases(1, 2, 3, 6)
def test_leaves_the_model_as_one_plain_pass_would(name: str, count: int, fusion: str) -> None:
    net, plain, data = model(count, fusion), model(count, fusion), batch(count)
    backward = make(name, count).on(net, F.cross_entropy)
    for _ in range(2):
        torch.manual_seed(3)
        outcome = backward(*data)
        found = state(net)
        torch.manual_seed(3)
        if name == "unimodal":
            plain.encoders["audio"](data[0]["audio"])
            assert same(gradients(net).keys(), {k: 0 for k in gradients(net) if "audio" in k or "fusion" in k}.keys())
            expected = state(plain)
            if fusion == "late":
                assert same(found, expected)
            continue
        loss = F.cross_entropy(plain(data[0]), data[1])
        assert same(weights_of(net), weights_of(plain))
        if name not in ELSEWHERE:
            assert same(found, state(plain))
            assert torch.equal(outcome.loss, loss.detach())
    assert not outcome.loss.requires_grad
    assert not outcome.logits.requires_grad
    assert all(isinstance(value, (float, str)) for value in outcome.notes.values())


@cases(2, 6)
def test_puts_everything_back_when_the_criterion_raises(name: str, count: int, fusion: str) -> None:
    for failing in (1, 2, 3):
        net = model(count, fusion)
        calls = 0

        def criterion(logits: torch.Tensor, target: torch.Tensor, failing: int = failing) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise RuntimeError("stop")
            return F.cross_entropy(logits, target)

        F.cross_entropy(net(batch(count, seed=5)[0]), batch(count, seed=5)[1]).backward()
        before, held = gradients(net), [weight.grad for weight in net.parameters()]
        plain = copy.deepcopy(net)
        torch.manual_seed(3)
        try:
            make(name, count).on(net, criterion)(*batch(count))
        except RuntimeError:
            found = state(net)
            assert same(gradients(net), before)
            assert all(weight.grad is old for weight, old in zip(net.parameters(), held, strict=True))
            if name != "unimodal":
                torch.manual_seed(3)
                plain(batch(count)[0])
                assert same(weights_of(net), weights_of(plain))
                assert name in ELSEWHERE or same(found, state(plain))
        else:
            assert calls < failing


@cases(2, 6)
def test_adds_to_existing_gradients_in_place(name: str, count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    alone = run(make(name, count), net, *data)
    F.cross_entropy(net(data[0]), data[1]).backward()
    net = model(count, fusion)
    for weight in net.parameters():
        weight.grad = torch.full_like(weight, 0.25)
    held = {key: weight.grad for key, weight in net.named_parameters()}
    torch.manual_seed(11)
    make(name, count).on(net, F.cross_entropy)(*data)
    expected = {key: alone.get(key, torch.zeros_like(grad)) + 0.25 for key, grad in gradients(net).items()}
    assert close(gradients(net), expected, 1e-14)
    assert all(weight.grad is held[key] for key, weight in net.named_parameters())


@cases(2, 6)
def test_is_scale_equivariant(name: str, count: int, fusion: str) -> None:
    net, data = model(count, fusion), batch(count)
    plain = run(make(name, count), net, *data)
    factor = 2.0**10  # a power of two: scaling is exact, only norms and quotients may round
    scaled = run(make(name, count), net, *data, criterion=lambda z, y: factor * F.cross_entropy(z, y))
    assert close({key: grad / factor for key, grad in scaled.items()}, plain, 1e-13)
    backwards = run(make(name, count), net, *data, backward=lambda loss: (factor * loss).backward())
    assert close({key: grad / factor for key, grad in backwards.items()}, plain, 1e-13)


@cases(2, 3)
def test_relabelling_modalities_permutes_the_result(name: str, count: int, fusion: str) -> None:
    if name in ("msam-fixed", "unimodal", "pdmp"):
        pytest.skip("names a modality")
    net, (inputs, target) = model(count, fusion), batch(count)
    renamed = dict(zip(NAMES, ("zebra", "apple", "mango")[:count], strict=False))
    other = copy.deepcopy(net)
    other.encoders = nn.ModuleDict({renamed[key]: module for key, module in net.encoders.items()})
    if fusion == "late":
        other.fusion.heads = nn.ModuleDict({renamed[key]: module for key, module in net.fusion.heads.items()})
    else:
        other.fusion.names = tuple(renamed[key] for key in net.fusion.names)
    left = run(make(name, count), net, inputs, target)
    right = run(
        METHODS[name](list(renamed.values())), other, {renamed[key]: tensor for key, tensor in inputs.items()}, target
    )
    assert all(torch.equal(a, b) for a, b in zip(left.values(), right.values(), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_state_dict_round_trip_continues_identically(name: str) -> None:
    count = 3 if fits(name, 3, "late") else 2
    net, method = model(count), make(name, count)
    backward = method.on(net, F.cross_entropy)
    for seed in range(3):
        backward(*batch(count, seed=seed))
    net.zero_grad()
    fresh, copied = make(name, count), copy.deepcopy(net)
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    other = fresh.on(copied, F.cross_entropy)
    for seed in (3, 4):
        torch.manual_seed(seed)
        backward(*batch(count, seed=seed))
        torch.manual_seed(seed)
        notes = other(*batch(count, seed=seed)).notes
        assert all(isinstance(value, (str, float)) for value in notes.values())
    assert same(gradients(net), gradients(copied))


@cases(2)
def test_micro_batches_add_up(name: str, count: int, fusion: str) -> None:
    net, parts = model(count, fusion), [batch(count, seed=seed) for seed in range(4)]
    expected: dict[str, Any] = {}
    method, copied = make(name, count), copy.deepcopy(net)
    backward = method.on(copied, lambda z, y: F.cross_entropy(z, y) / 4)
    torch.manual_seed(0)
    for part in parts:
        backward(*part)
        for key, grad in gradients(copied).items():
            expected[key] = expected.get(key, 0) + grad
        copied.zero_grad()
    torch.manual_seed(0)
    backward = make(name, count).on(net, lambda z, y: F.cross_entropy(z, y) / 4)
    for part in parts:
        backward(*part)
    assert close(gradients(net), expected, 1e-14)


@cases(2)
def test_gradient_scaler_changes_nothing(name: str, count: int, fusion: str) -> None:
    trained = []
    for scaling in (False, True):
        net = model(count, fusion, dtype=torch.float32)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, enabled=scaling)
        step = make(name, count).on(net, F.cross_entropy, backward=lambda loss, s=scaler: s.scale(loss).backward())
        torch.manual_seed(1)
        for seed in range(4):
            step(*batch(count, seed=seed, dtype=torch.float32))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        trained.append({key: tensor.clone() for key, tensor in net.state_dict().items()})
    # float32: norms and quotients of scaled gradients round differently; four momentum steps at lr 0.1
    assert close(*[{k: v for k, v in t.items() if v.is_floating_point()} for t in trained], 2e-6)


@pytest.mark.parametrize("name", METHODS)
def test_overflowing_scale_skips_the_step_and_restores_the_weights(name: str) -> None:
    net = model(2, dtype=torch.float32)
    weights = {key: weight.detach().clone() for key, weight in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=3e38)
    step = make(name).on(net, lambda z, y: 1e3 * F.cross_entropy(z, y), backward=lambda v: scaler.scale(v).backward())
    step(*batch(2, dtype=torch.float32))
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() < 3e38
    assert same(weights, {key: weight.detach() for key, weight in net.named_parameters()})


@cases(2, 6)
def test_bfloat16_autocast_is_near_float32(name: str, count: int, fusion: str) -> None:
    net, data = model(count, fusion, dtype=torch.float32), batch(count, size=32, dtype=torch.float32)
    half = run(make(name, count), net, *data, context=lambda: torch.autocast("cpu", torch.bfloat16))
    full = run(make(name, count), net, *data)
    dot = sum((half[key] * full[key]).sum() for key in full)
    norms = [sum(grad.square().sum() for grad in grads.values()).sqrt() for grads in (half, full)]
    assert all(grad.dtype == torch.float32 for grad in half.values())
    least = (
        -1.0 if name == "esam-selecting" else 0.95
    )  # which may select other samples, with dropout masks of their own
    assert dot / (norms[0] * norms[1]) > least  # bf16 keeps 8 bits and may name another dominant modality


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_without_gradient_leaves_finite_gradients(name: str) -> None:
    found = run(make(name), model(2), *batch(2), criterion=lambda z, y: 0 * F.cross_entropy(z, y))
    assert all(gradient.isfinite().all() for gradient in found.values())


@pytest.mark.parametrize("name", [name for name in METHODS if name != "unimodal"])
def test_works_on_a_model_that_shows_only_forward_or_refuses_before_training(name: str) -> None:
    net, data = Opaque(model(2)), batch(2)
    method = make(name)
    if method.needs:
        with pytest.raises(ValueError, match=r"needs a model with .*Joint"):
            method.on(net, F.cross_entropy)
        return
    backward = method.on(net, F.cross_entropy)
    if "feature" in name:
        with pytest.raises(ValueError, match="zero-input"):
            backward(*data)
        return
    backward(*data)
    assert gradients(net)


def test_every_public_method_is_in_the_contract() -> None:
    import msam

    public = {cls for cls in vars(msam).values() if isinstance(cls, type) and issubclass(cls, Method)} - {Method}
    assert public <= {type(make(name)) for name in METHODS}


@pytest.mark.parametrize("name", REFUSES)
def test_refuses_in_one_sentence_before_training(name: str) -> None:
    refused = [(n, f) for n in (1, 2, 3, 6) for f in ("late", "early") if not fits(name, n, f)]
    assert refused
    for count, fusion in refused:
        with pytest.raises(ValueError, match=type(make(name)).__name__) as error:
            make(name, count).on(model(count, fusion), F.cross_entropy)
        assert str(error.value).count(". ") == 0


OWNERS = [name for name in METHODS if list(make(name).parameters())]


@pytest.mark.parametrize("name", OWNERS)
def test_parameters_of_its_own_receive_gradients_like_the_models(name: str) -> None:
    found = []
    for held in (0.0, 0.25):
        method = make(name)
        backward = method.on(model(2), F.cross_entropy, backward=lambda loss: (2 * loss).backward())
        for weight in method.parameters():
            weight.grad = torch.full_like(weight, held)
        backward(*batch(2))
        found.append(gradients(method))
    assert all(grad.abs().sum() > 0 for grad in found[0].values())
    assert close({key: grad + 0.25 for key, grad in found[0].items()}, found[1], 1e-14)
