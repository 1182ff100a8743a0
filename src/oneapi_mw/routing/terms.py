"""Who pays for answers that nobody got: the operator's settings, with what a channel says on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

from oneapi_mw.immutable import immutable

Ambiguous: TypeAlias = Literal["void", "prompt_cost", "hold"]
AMBIGUOUS: tuple[Ambiguous, ...] = get_args(Ambiguous)


@immutable
class BillingTerms:
    """What a channel's provider charges beyond complete answers, and what of it is passed on."""

    ambiguous: Ambiguous = "prompt_cost"
    """Charged for a request that was sent and of whose answer not one byte came: nobody knows whether the model has
    read it. Nothing, its prompt, or all that was set aside."""
    bills_after_disconnect: bool = False
    """The provider goes on, and charges, when it is hung up on: answers are then read to their end although their
    client has left."""
    bill_failed_attempts: bool = False
    """Attempts that failed are charged where the upstream told what they have consumed."""


TERMS = BillingTerms()
SWITCHES = ("bills_after_disconnect", "bill_failed_attempts")
"""Keys of a channel's `config` that are true or false. `ambiguous` is one of `AMBIGUOUS`."""


def channel_terms(defaults: BillingTerms, config: Mapping[str, Any]) -> BillingTerms:
    """`defaults` with what `config` says. Values of other types, which are refused when a channel is saved, say
    nothing."""
    changes: dict[str, Any] = {name: config[name] for name in SWITCHES if isinstance(config.get(name), bool)}
    if config.get("ambiguous") in AMBIGUOUS:
        changes["ambiguous"] = config["ambiguous"]
    return replace(defaults, **changes) if changes else defaults
