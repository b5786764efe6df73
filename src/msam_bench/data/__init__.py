"""The data sets of the bench, one file each, by name; and prepared stores, by name or by path.

    source("digits6").load(seed=0).splits["train"]
    source("data/mine").load(seed=0)

Importing this package imports no torch: only `load` does.
"""

from __future__ import annotations

from pathlib import Path

from msam_bench.data.base import SPLITS, Dataset, Source, Split
from msam_bench.data.modality import Modality
from msam_bench.data.sets.avdigits.source import AV_DIGITS
from msam_bench.data.sets.avdigits_small import AV_DIGITS_SMALL
from msam_bench.data.sets.ave.source import AVE_EVENTS
from msam_bench.data.sets.avmnist import AV_MNIST
from msam_bench.data.sets.cremad.source import CREMA_D
from msam_bench.data.sets.digits6 import DIGITS6
from msam_bench.data.sets.icons import ICONS
from msam_bench.data.sets.leaves import LEAVES
from msam_bench.data.sets.omniglot import OMNIGLOT, OMNIGLOT_ALPHABETS
from msam_bench.data.sets.regrouped import regrouped, split_name
from msam_bench.data.sets.room import ROOM
from msam_bench.data.sets.sentiment import MOSEI, MOSI, MUSTARD
from msam_bench.data.sets.smartwatch import SMARTWATCH
from msam_bench.data.sets.synthetic import from_name
from msam_bench.data.sets.urfunny.source import UR_FUNNY
from msam_bench.data.store.manifest import NAME
from msam_bench.data.store.prepared import opened, prepared
from msam_bench.names import nearest

__all__ = ["SPLITS", "Dataset", "Modality", "Source", "Split", "names", "registered", "source"]


def registered() -> dict[str, Source]:
    """Every data set that msam knows, by its name; the first one is the default."""
    shipped = (DIGITS6, SMARTWATCH, LEAVES, ROOM, OMNIGLOT, OMNIGLOT_ALPHABETS, ICONS, AV_DIGITS_SMALL)
    known: tuple[Source, ...] = (*shipped, AV_DIGITS, AV_MNIST, CREMA_D, UR_FUNNY, AVE_EVENTS, MOSI, MOSEI, MUSTARD)
    return {source.name: source for source in known}


def names() -> list[str]:
    """The names of all data sets that msam knows, then of the others that are prepared here."""
    return list(dict.fromkeys([*registered(), *prepared()]))


def source(name: str) -> Source:
    """The data set of that name: one that msam knows, one that is prepared here, or the prepared store at that path.

    NAMExM is a data set of vectors with its features in M equal modalities; `synthetic:DIAL=VALUE,...` is generated.

    Raises:
        ValueError: There is none (the message has the nearest name), or its store is damaged.
    """
    known, stores = registered(), prepared()
    if name in known:
        return known[name]
    if name in stores:
        return opened(stores[name])
    if generated := from_name(name):
        return generated
    if "/" in name or (Path(name) / NAME).is_file():
        return opened(Path(name))
    parts = split_name(name)
    if parts and parts[0] in known:
        return regrouped(known[parts[0]], parts[1])
    advice = nearest(name, names(), otherwise="see 'msam data list'")
    raise ValueError(f"Expected one of the data sets {', '.join(names())}, found '{name}': {advice}.")
