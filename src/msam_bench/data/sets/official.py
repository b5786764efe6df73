"""A data set that others publish: known by name, prepared once from the files one downloads from them.

    CREMAD = Cremad(name="cremad", ..., where="https://github.com/...", recipes={"ogm-1fps": "..."}, protocols={...})
    CREMAD.prepare(Path("downloads/CREMA-D"), recipe="ogm-1fps", split="paper")     # msam data prepare cremad FOLDER
    CREMAD.load(seed=0)                                                             # from data/cremad

A subclass writes `preparation`: from the official files to a header, a plan and a function that reads one sample. The
rest (chunks, resuming, checks, the manifest) is `building.build`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msam_bench.data.base import Dataset, Source
from msam_bench.data.modality import Modality
from msam_bench.data.store.manifest import Header, Manifest
from msam_bench.data.store.prepared import Prepared, opened, root
from msam_bench.names import nearest

if TYPE_CHECKING:
    from msam_bench.data.store.building import Plan, Read


@dataclass(frozen=True)
class Preparation:
    """What `build` needs: the header, who is in which split, and how one sample is read."""

    header: Header
    plan: Plan
    read: Read


@dataclass(frozen=True, kw_only=True)
class Official(Source):
    """A published data set.

    Args:
        recipes: Name -> one sentence on how samples become tensors; the first is the default.
        protocols: Name -> one sentence on who is in which split; the first is the default.
        expected: The published number of samples of each split of the default protocol.
    """

    recipes: Mapping[str, str] = field(default_factory=lambda: {"default": "as published"})
    protocols: Mapping[str, str] = field(default_factory=lambda: {"official": "as published"})
    expected: Mapping[str, int] = field(default_factory=dict)

    @abstractmethod
    def preparation(self, source: Path, recipe: str, split: str) -> Preparation:
        """How the official files become a store. Looks at names and labels; decodes nothing yet.

        Args:
            source: The folder of the official files.
            recipe: One of `recipes`.
            split: One of `protocols`.

        Raises:
            ValueError: Files that are missing or not what they must be, in one sentence.
        """

    def header(
        self,
        modalities: Mapping[str, Modality],
        recipe: str,
        split: str,
        *,
        classes: tuple[str, ...] | None = None,
        group: str | None = None,
        **details: Any,
    ) -> Header:
        """What the store says of itself.

        Args:
            modalities: What each is like.
            recipe: One of `recipes`.
            split: The name of the protocol.
            classes: Where a recipe has other ones than the data set.
            group: Where the protocol keeps anything on one side.
            **details: What else decides the values or stands in the files, by name.
        """
        return Header(
            name=self.name,
            summary=self.summary,
            modalities=modalities,
            classes=self.classes if classes is None else classes,
            licence=self.licence,
            citation=self.citation,
            origin=self.origin,
            recipe={"name": recipe, "says": self.recipes[recipe], **details},
            split=split,
            group=group,
        )

    def prepare(
        self,
        source: Path,
        recipe: str | None = None,
        split: str | None = None,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Manifest:
        """Builds the store, or goes on where it was interrupted.

        Args:
            source: The folder of the official files.
            recipe: One of `recipes`; the first if None.
            split: One of `protocols`; the first if None.
            folder: Where the store goes; `root() / name` if None.
            progress: Called with the number of samples done, and of all.

        Raises:
            ValueError: An unknown recipe or protocol, no such folder, and as `preparation` and `build`.
        """
        from msam_bench.data.store.building import build

        recipe = _chosen("recipe", recipe, self.recipes, self.name)
        split = _chosen("protocol", split, self.protocols, self.name)
        if not source.is_dir():
            raise ValueError(f"Expected the files of {self.name} in {source}, found no folder there: {self.where}")
        preparation = self.preparation(source, recipe, split)
        return build(folder or root() / self.name, preparation.header, preparation.plan, preparation.read, progress)

    def store(self) -> Prepared:
        """The prepared store.

        Raises:
            ValueError: It is not prepared here, or damaged.
        """
        folder = root() / self.name
        if not self.here:
            raise ValueError(
                f"Expected {self.name} prepared in {folder}, found nothing there: run 'msam data prepare {self.name} "
                f"FOLDER' on the official files. {self.where}"
            )
        return opened(folder)

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`; of what is prepared here."""
        return self.store().fingerprint

    def load(self, seed: int) -> Dataset:
        """See `Source.load`."""
        return self.store().load(seed)

    def sizes(self, seed: int = 0) -> dict[str, int]:
        """See `Source.sizes`; what is published, if nothing is prepared here."""
        return self.store().sizes(seed) if self.here else dict(self.expected)

    @property
    def here(self) -> bool:
        """See `Source.here`."""
        return (root() / self.name).exists()

    def status(self) -> str:
        """See `Source.status`."""
        return self.store().status() if self.here else "not prepared here"

    def verify(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """See `Source.verify`."""
        self.store().verify(progress)


def _chosen(what: str, name: str | None, known: Mapping[str, str], data: str) -> str:
    """The named one, or the first."""
    if name is None:
        return next(iter(known))
    if name not in known:
        advice = nearest(name, known)
        raise ValueError(f"Expected a {what} of {data} among {', '.join(known)}, found '{name}': {advice}.")
    return name
