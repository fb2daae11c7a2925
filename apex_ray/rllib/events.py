"""Which of RLlib's callbacks are called here, and which are not: episodes happen in other processes, without RLlib."""

from __future__ import annotations

from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.utils import force_list

CALLED = frozenset(
    {"on_algorithm_init", "on_train_result", "on_evaluate_start", "on_evaluate_end", "on_checkpoint_loaded"}
)
OTHERS = frozenset(name for name in vars(RLlibCallback) if name.startswith("on_")) - CALLED


class Events:
    """The callbacks of an AlgorithmConfig: objects of its classes, and its functions."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self.objects = [made() for made in force_list(config.callbacks_class)]

    def __call__(self, name: str, **given: Any) -> None:
        """Call those of an event of CALLED, the objects' first."""
        functions = getattr(self._config, f"callbacks_{name}", None)
        make_callback(name, callbacks_objects=self.objects, callbacks_functions=functions, kwargs=given)

    def never_called(self) -> list[str]:
        """Names of callbacks that were given for events which do not exist here."""
        return sorted(
            name
            for name in OTHERS
            if getattr(self._config, f"callbacks_{name}", None)
            or any(getattr(type(own), name) is not getattr(RLlibCallback, name) for own in self.objects)
        )
