"""Which methods are compared: those that are named, `all`, what stands for another, what is left out."""

from __future__ import annotations

import pytest

from msam_bench.config.resolve import resolve
from msam_bench.data import source
from msam_bench.registry import methods, rivals
from msam_bench.runs.choice import choose, refusal


def refusals(data: str, fusion: str) -> dict[str, str | None]:
    dataset = source(data).load(0)
    return {
        name: refusal(resolve(data, fusion, name), dataset) for name, entry in methods().items() if not entry.control
    }


def test_named_methods_are_taken_once_in_their_order_and_nothing_is_asked() -> None:
    found = choose(" gnp,sam:rho=0.3,,gnp ,joint", pytest.fail)
    assert found.methods == ("gnp", "sam:rho=0.3", "joint")
    assert found.notes == ()


def test_all_is_the_catalogue_without_controls_and_can_be_mixed() -> None:
    found = choose("sam:rho=0.3,all,joint", lambda name: None)
    assert found.methods == ("sam:rho=0.3", *rivals())
    assert found.notes == ()


def test_what_is_unfit_is_replaced_by_its_extension_or_left_out_with_its_reason() -> None:
    found = choose(
        "all",
        lambda name: (
            f"No {name}; a, b and c would work." if name in {"ogm", "pmr", "pmr-mean-of-others", "mla"} else None
        ),
    )
    assert not {"ogm", "pmr", "pmr-mean-of-others", "mla"} & set(found.methods)
    assert "ogm-pairwise" in found.methods
    assert found.notes == (
        "ogm-pairwise stands for ogm: No ogm.",
        "pmr is left out: No pmr.",
        "mla is left out: No mla.",
    )


def test_controls_and_extensions_are_in_the_catalogue() -> None:
    extensions = {name: entry.extension for name, entry in methods().items() if entry.extension}
    assert {name: entry.extends for name, entry in methods().items() if entry.extends} == {
        extension: name for name, extension in extensions.items()
    }
    assert set(rivals()) == methods().keys() - {n for n, e in methods().items() if e.control} - {*extensions.values()}


def test_every_method_suits_two_modalities_with_late_fusion() -> None:
    assert set(refusals("smartwatch", "late").values()) == {None}


def test_what_compares_two_modalities_refuses_six() -> None:
    refused = {name: why for name, why in refusals("digits6", "late").items() if why}
    assert refused.keys() == {name for name, entry in methods().items() if entry.extension}
    assert all("compares two modalities, found 6" in why for why in refused.values())
