"""The weights along a run, kept every so many epochs: for paths and for comparisons at equal loss, not for resuming.

keep(folder, config, epoch=3, model=model)          # writes only what is due
load(folder, epoch)                                 # a state_dict
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from msam_bench.config.run import RunConfig
from msam_bench.files import discard_parts
from msam_bench.training import checkpoint

_FOLDER = "snapshots"


def due(config: RunConfig, epochs: int, *, over: bool = False) -> list[int]:
    """The epochs of so many after which weights are kept: the start (0), every n-th, the last of a run that is over."""
    if not config.snapshots:
        return []
    return sorted({*range(0, epochs + 1, config.snapshots), *([epochs] if over else [])})


def keep(folder: Path, config: RunConfig, epoch: int, model: nn.Module, *, over: bool = False) -> None:
    """Writes the weights after an epoch, if they are due; `over` says that it was the last."""
    if epoch in due(config, epoch, over=over):
        (folder / _FOLDER).mkdir(exist_ok=True)
        discard_parts(_path(folder, epoch))
        checkpoint.save(_path(folder, epoch), model.state_dict())


def complete(folder: Path, config: RunConfig, epochs: int, *, over: bool = False) -> bool:
    """Whether all that were due in so many epochs are there."""
    return all(_path(folder, epoch).is_file() for epoch in due(config, epochs, over=over))


def load(folder: Path, epoch: int) -> dict[str, Tensor]:
    """The weights after an epoch.

    Raises:
        ValueError: if they are not there or damaged.
    """
    return checkpoint.load(_path(folder, epoch))


def epochs(folder: Path) -> list[int]:
    """The epochs whose weights were kept."""
    return sorted(int(path.stem) for path in (folder / _FOLDER).glob("*.ckpt") if path.stem.isdigit())


def _path(folder: Path, epoch: int) -> Path:
    return folder / _FOLDER / f"{epoch:06}.ckpt"
