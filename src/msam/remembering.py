"""What a module remembers between batches, in its `state_dict`.

class MSAM(Remembering, Method):
    remembers = ("batches",)          # state_dict()["_extra_state"] == {"batches": self._batches}
"""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

from torch import nn


class Remembering(nn.Module):
    """A module that keeps some of its attributes in its `state_dict`, beside parameters and buffers.

    Attributes:
        remembers: names in the state; each is that of an attribute behind an underscore.
    """

    remembers: ClassVar[tuple[str, ...]]

    def get_extra_state(self) -> dict[str, Any]:
        """What is remembered, by name; changing it later leaves the state as it is."""
        return {name: _detached(getattr(self, f"_{name}")) for name in self.remembers}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continues where `get_extra_state` left off.

        Raises:
            ValueError: if the state lacks something, as that of another class does.
        """
        missing = [name for name in self.remembers if name not in state]
        if missing:
            raise ValueError(
                f"A state of {type(self).__name__} must hold {list(self.remembers)}, found {list(state)}; load the "
                "state_dict of the same class."
            )
        for name in self.remembers:
            setattr(self, f"_{name}", _detached(state[name]))


def _detached(value: Any) -> Any:
    """A list or mapping of its own, which later changes of the other do not reach."""
    return copy(value) if isinstance(value, (list, dict)) else value
