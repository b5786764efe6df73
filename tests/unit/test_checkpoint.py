"""Checkpoints: the same bytes for the same state, nothing lost, nothing run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from msam_bench.files import write_whole
from msam_bench.training import checkpoint
from zoo import model, same

STATE: dict[str, Any] = {
    "epoch": 3,
    "best": {"score": (0.5, -1.25), "epoch": None, "flags": [True, False]},
    "optimizer": {
        "state": {0: {"momentum": torch.arange(6.0).view(2, 3)}, 7: {}},
        "param_groups": [{"betas": (0.9, 0.999)}],
    },
    "random": torch.get_rng_state(),
    "nothing": torch.empty(0, 4),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "text": "ρ = 0.1 / a",
}


def test_round_trip_keeps_values_types_and_keys(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.ckpt", STATE)
    found = checkpoint.load(tmp_path / "a.ckpt")
    assert same(found, STATE)
    assert list(found["optimizer"]["state"]) == [0, 7]
    assert isinstance(found["best"]["score"], tuple)


def test_the_same_state_gives_the_same_bytes_also_after_loading(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.ckpt", STATE)
    checkpoint.save(tmp_path / "b.ckpt", checkpoint.load(tmp_path / "a.ckpt"))
    assert (tmp_path / "a.ckpt").read_bytes() == (tmp_path / "b.ckpt").read_bytes()


def test_a_trained_model_with_momentum_continues_identically(tmp_path: Path) -> None:
    nets = [model(2), model(2)]
    optimizers = [torch.optim.SGD(net.parameters(), 0.1, momentum=0.9) for net in nets]
    for weight in nets[0].parameters():
        weight.grad = torch.ones_like(weight)
    optimizers[0].step()
    checkpoint.save(tmp_path / "a.ckpt", {"model": nets[0].state_dict(), "optimizer": optimizers[0].state_dict()})
    state = checkpoint.load(tmp_path / "a.ckpt")
    nets[1].load_state_dict(state["model"])
    optimizers[1].load_state_dict(state["optimizer"])
    for net, optimizer in zip(nets, optimizers, strict=True):
        for weight in net.parameters():
            weight.grad = torch.full_like(weight, 0.5)
        optimizer.step()
    assert same(nets[0].state_dict(), nets[1].state_dict())


def test_views_and_shared_tensors_are_saved_by_value(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    checkpoint.save(tmp_path / "a.ckpt", {"view": base[::2], "again": base, "twice": base})
    assert checkpoint.load(tmp_path / "a.ckpt")["view"].tolist() == [0, 2, 4]


@pytest.mark.parametrize("content", [b"", b"nonsense" * 10, pickle.dumps({"a": 1})])
def test_what_is_no_checkpoint_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"Expected a checkpoint at .*bad\.ckpt, found: .*; delete its folder"):
        checkpoint.load(path)


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, STATE)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="Expected a checkpoint"):
        checkpoint.load(path)


def test_objects_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="found set at '/a/b'"):
        checkpoint.save(tmp_path / "a.ckpt", {"a": {"b": {1, 2}}})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
