"""All that a page may state, in one structure: every sentence is generated from it, so that none contradicts another.

    verdict = Verdict(measure, "joint", methods=family(to_joint), baselines=Baselines(...), leader=leading(...), ...)
    " ".join(sentence.text for sentence in sentences(verdict))    # msam_bench.analysis.sentences.verdict

A statement is a `Claim` on two rows of the table; a sentence is its words together with the claims it makes.
`contradictions` finds pairs of claims that cannot both stand, including what follows from a beats b and b beats c.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import product

from msam_bench.analysis.contrasts import MARGIN, Contrast, Decision
from msam_bench.analysis.leader import Leader
from msam_bench.analysis.stability import Collapse
from msam_bench.metrics.measure import Measure


@dataclass(frozen=True)
class Baselines:
    """What is simpler than the reference; each contrast is the baseline minus the reference, one family of their own.

    Args:
        apart: Modality -> a model of that modality trained apart.
        ensemble: Their late ensemble, log-probabilities added; None where there is none.
    """

    apart: Mapping[str, Contrast]
    ensemble: Contrast | None = None

    @property
    def rows(self) -> dict[str, Contrast]:
        """Each baseline by the name of its row."""
        ensemble = {} if self.ensemble is None else {ENSEMBLE: self.ensemble}
        return {**{alone(name): contrast for name, contrast in self.apart.items()}, **ensemble}

    @property
    def strongest(self) -> str:
        """The modality whose model alone has the highest mean."""
        return max(self.apart, key=lambda name: self.apart[name].difference)


@dataclass(frozen=True)
class Chance:
    """What knowing nothing reaches: the majority class, or the mean of the values.

    Args:
        score: Its mean test score.
        contrasts: Row -> that row minus chance, one family of its own.
        name: What it is called.
    """

    score: float
    contrasts: Mapping[str, Contrast]
    name: str = "the majority class"


@dataclass(frozen=True)
class Divergence:
    """Runs of a method whose loss was no longer finite.

    Args:
        seeds: Their seeds.
        runs: Number of all its runs.
        without: The contrast over the pairs that did not diverge; None where none is left.
        counted: Whether these runs count as chance; they are left out otherwise.
    """

    seeds: tuple[int, ...]
    runs: int
    without: Contrast | None = None
    counted: bool = True


@dataclass(frozen=True)
class Verdict:
    """What a page states.

    Args:
        measure: What was measured.
        reference: The row that every other one is compared with.
        methods: Every other method -> its contrast with the reference, the declared family.
        leader: The row with the highest mean and its rivals; None where nothing was compared.
        baselines: What is simpler than the reference; None where nothing was trained for it.
        chance: What knowing nothing reaches; None where targets are not known.
        collapses: Row -> its collapsed runs.
        divergences: Row -> its diverged runs, which count as chance in its contrast.
        untuned: Rows whose settings were not chosen for these data.
        unkept: Rows with runs that kept no predictions.
        group: What the split keeps on one side, such as "subject"; None if samples are drawn one by one.
    """

    measure: Measure
    reference: str
    methods: Mapping[str, Contrast]
    leader: Leader | None = None
    baselines: Baselines | None = None
    chance: Chance | None = None
    collapses: Mapping[str, Collapse] = field(default_factory=dict)
    divergences: Mapping[str, Divergence] = field(default_factory=dict)
    untuned: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    group: str | None = None

    @property
    def contrasts(self) -> dict[str, Contrast]:
        """Every row but the reference, baselines included -> its contrast with the reference."""
        return {**self.methods, **(self.baselines.rows if self.baselines else {})}

    @property
    def margin(self) -> float:
        """The smallest difference that matters."""
        return next((contrast.margin for contrast in self.contrasts.values()), MARGIN)

    @property
    def above_chance(self) -> set[str]:
        """Rows shown to be better than chance: by their own test, or since they beat one that is."""
        if self.chance is None:
            return set()
        shown = {name for name, contrast in self.chance.contrasts.items() if contrast.outcome.direction > 0}
        beats = {(claim.first, claim.second) for claim in ordered(self)}
        while more := {first for first, second in beats if second in shown} - shown:
            shown |= more
        return shown


class Relation(Enum):
    """What a claim states of two rows; of one row and chance where the second is chance."""

    BEATS = "beats"
    EQUALS = "does not differ in a way that matters from"
    OPEN = "is neither shown to differ nor not to differ from"
    UNSEPARATED = "is not shown to beat"


@dataclass(frozen=True)
class Claim:
    """One statement."""

    relation: Relation
    first: str
    second: str


@dataclass(frozen=True)
class Sentence:
    """Words, and the claims that they make."""

    text: str
    claims: tuple[Claim, ...] = ()


ENSEMBLE = "late ensemble"
"""The row of the late ensemble of the modalities trained apart."""


def alone(modality: str) -> str:
    """The row of a modality trained apart."""
    return f"{modality} alone"


def claim(name: str, contrast: Contrast, reference: str) -> Claim | None:
    """What a contrast with the reference states; None where it is only described."""
    match contrast.outcome:
        case Decision.DESCRIBED:
            return None
        case Decision.EQUIVALENT:
            return Claim(Relation.EQUALS, name, reference)
        case Decision.UNDECIDED:
            return Claim(Relation.OPEN, name, reference)
        case outcome:
            pair = (name, reference) if outcome.direction > 0 else (reference, name)
            return Claim(Relation.BEATS, *pair)


def ordered(verdict: Verdict) -> list[Claim]:
    """The claims that one row beats another."""
    claims = [claim(name, contrast, verdict.reference) for name, contrast in verdict.contrasts.items()]
    leader = verdict.leader
    if leader and leader.best:
        rest = [name for name in (verdict.reference, *verdict.contrasts) if name != leader.name]
        claims += [Claim(Relation.BEATS, leader.name, name) for name in rest]
    return [each for each in claims if each and each.relation is Relation.BEATS]


def contradictions(claims: Iterable[Claim]) -> list[tuple[Claim, Claim]]:
    """Pairs of claims that cannot both stand, what follows by transitivity included."""
    stated = list(dict.fromkeys(claims))
    beats = _closure({(each.first, each.second) for each in stated if each.relation is Relation.BEATS})
    pairs = []
    for each in stated:
        pair, swapped = (each.first, each.second), (each.second, each.first)
        against = {Relation.BEATS: [swapped], Relation.UNSEPARATED: [pair]}.get(each.relation, [pair, swapped])
        pairs += [(each, Claim(Relation.BEATS, *other)) for other in against if other in beats]
    kinds = {Relation.EQUALS: Relation.OPEN, Relation.OPEN: Relation.EQUALS}
    for each, other in product(stated, stated):
        same = {each.first, each.second} == {other.first, other.second}
        if same and kinds.get(each.relation) is other.relation:
            pairs.append((each, other))
    return pairs


def _closure(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """All that follows from a beats b and b beats c."""
    closed = set(pairs)
    while more := {(a, d) for (a, b), (c, d) in product(closed, closed) if b == c} - closed:
        closed |= more
    return closed
