"""The manifest of a prepared store: what the folder holds, how it was made, and the sha256 of every file.

    manifest = read(folder)            # Manifest, or a ValueError that says what is wrong
    manifest.header.classes, manifest.counts["train"], manifest.fingerprint
    verify(folder, progress)           # hashes every file again

A prepared store is one folder:

    manifest.json
    train.audio.safetensors            one file a split and modality, memory-mapped
    train.audio.present.safetensors    1 where a sample has the modality, for modalities that some samples lack
    train.target.safetensors           class indices (int64), or values to regress (float32)
    train.samples.json                 the name and, where there are any, the group of each sample
    valid.*, test.*

A store whose split is drawn by the seed has the one part "all" instead of train, valid and test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from msam_bench.data.base import SPLITS
from msam_bench.data.modality import Modality

LAYOUT = 1
"""Version of the layout of a store; raised when an older msam could not read it rightly."""

NAME = "manifest.json"
ALL = "all"
"""The one part of a store whose split is drawn by the seed."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a prepared store says of itself.

    Args:
        name: What the command line calls it.
        summary: One sentence.
        modalities: What each is like, in the order that every part of the bench keeps.
        classes: Name of each class index; empty for values to regress.
        licence: The name of the licence of the data.
        citation: What to cite.
        origin: Where the data come from.
        recipe: How samples became tensors: everything that decides the values, as plain numbers and texts.
        split: The name of the protocol that decides who is in which split.
        group: What a split keeps on one side ("actor"), or None.
        shares: Of valid and test, where the seed draws the split.
        partial: The modalities that some samples lack.
        imputed: The modalities whose missing values (NaN) become the mean of the training split.
    """

    name: str
    summary: str
    modalities: Mapping[str, Modality]
    classes: tuple[str, ...]
    licence: str
    citation: str
    origin: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    split: str = "official"
    group: str | None = None
    shares: tuple[float, float] = (0.1, 0.2)
    partial: tuple[str, ...] = ()
    imputed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Args:
        header: What the store says of itself, shapes and types filled in.
        counts: Samples of each split, or of "all".
        per_class: Samples of each class in each split; empty for values to regress.
        files: Name -> sha256 and bytes.
        request: A hash of what was asked for: the header and who is in which split with which label.
        versions: Of the software that wrote it.
    """

    header: Header
    counts: Mapping[str, int]
    per_class: Mapping[str, tuple[int, ...]]
    files: Mapping[str, Mapping[str, Any]]
    request: str
    versions: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """sha256 over all that decides numbers: tensors, scales, classes, recipe and split, not texts and versions."""
        header = plain(self.header)
        deciding = {key: header[key] for key in ("modalities", "classes", "recipe", "split", "group", "shares")}
        return sha256([LAYOUT, deciding, {name: file["sha256"] for name, file in self.files.items()}])

    def text(self) -> str:
        """The file's text, the same for the same manifest, with a seal over all of it."""
        content = {"layout": LAYOUT, **plain(self), "fingerprint": self.fingerprint}
        return json.dumps({**content, "seal": sha256(content)}, indent=1) + "\n"


def read(folder: Path) -> Manifest:
    """The manifest of a prepared store; every file it names is there in its full length.

    Raises:
        ValueError: no manifest, one of another layout or a changed one, or a missing or shortened file.
    """
    manifest = _parsed(folder / NAME)
    for name, file in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != file["bytes"]:
            shown = "none" if size is None else f"{size:,} bytes"
            raise ValueError(f"Expected {file['bytes']:,} bytes in {path}, found {shown}: prepare the data again.")
    return manifest


def verify(folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Manifest:
    """Hashes every file again.

    Args:
        folder: A prepared store.
        progress: Called with bytes done and bytes in all.

    Raises:
        ValueError: as `read`, or a file whose content has changed, or one that the manifest does not name.
    """
    manifest = read(folder)
    total, done = sum(file["bytes"] for file in manifest.files.values()), 0
    for name, file in manifest.files.items():
        digest = sha256_of(folder / name)
        if digest != file["sha256"]:
            raise ValueError(
                f"Expected {folder / name} with sha256 {file['sha256'][:12]}, found {digest[:12]}: the file has "
                "changed since it was prepared; delete the folder and prepare the data again."
            )
        done += file["bytes"]
        progress(done, total)
    for path in sorted(folder.iterdir()):
        if path.name not in {NAME, *manifest.files}:
            raise ValueError(f"Expected only what the manifest names in {folder}, found {path.name}: move it away.")
    return manifest


def tensor_file(part: str, name: str) -> str:
    """The file of a modality, or of the target, in a split."""
    return f"{part}.{name}.safetensors"


def presence_file(part: str, name: str) -> str:
    """The file of who has a modality, in a split."""
    return tensor_file(part, f"{name}.present")


def samples_file(part: str) -> str:
    """The file with the names and groups of a split's samples."""
    return f"{part}.samples.json"


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256(value: Any) -> str:
    """The sha256 of a value that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A dataclass as JSON holds it."""
    return json.loads(json.dumps(asdict(value)))


def _parsed(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_bytes())
        seal = content.pop("seal")
        layout = content.pop("layout")
    except FileNotFoundError:
        raise ValueError(f"Expected a prepared data set in {path.parent}, found no {NAME}: prepare it first.") from None
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"Expected a manifest in {path}, found: {error}; prepare the data again.") from None
    if layout != LAYOUT:
        raise ValueError(f"Expected layout {LAYOUT} in {path}, found {layout}: prepare the data again with this msam.")
    if sha256({"layout": layout, **content}) != seal:
        raise ValueError(f"Expected {path} as it was written, found it changed: prepare the data again.")
    try:
        return _checked(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"Expected a manifest in {path}, found: {reason}; prepare the data again.") from None


def _checked(content: dict[str, Any]) -> Manifest:
    """The manifest of a content whose seal is right; whoever sealed it, it names nothing outside its folder."""
    del content["fingerprint"]
    TypeAdapter(Manifest).validate_python(content)
    header = content.pop("header")
    for name, file in content["files"].items():
        if name != Path(name).name or name in ("", ".", ".."):
            raise ValueError(f"the file {name!r}, where there may be only names of files in its folder")
        if not (isinstance(file["sha256"], str) and isinstance(file["bytes"], int)):
            raise ValueError(f"no sha256 and bytes of {name!r}")
    if sorted(content["counts"]) not in ([ALL], sorted(SPLITS)):
        raise ValueError(f"the splits {list(content['counts'])}")
    needed = {tensor_file(part, name) for part in content["counts"] for name in [*header["modalities"], "target"]}
    needed |= {presence_file(part, name) for part in content["counts"] for name in header.get("partial", ())}
    if missing := sorted(needed - set(content["files"])):
        raise ValueError(f"no file {missing[0]!r}")
    specs = {name: Modality(**spec) for name, spec in header.pop("modalities").items()}
    header |= {key: tuple(header.get(key, ())) for key in ("classes", "shares", "partial", "imputed")}
    per_class = {part: tuple(counts) for part, counts in content.pop("per_class").items()}
    return Manifest(Header(modalities=specs, **header), per_class=per_class, **content)
