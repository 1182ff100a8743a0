"""What a channel's config says of who pays for answers that nobody got."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.resources import billing_terms
from oneapi_mw.routing.terms import TERMS, BillingTerms, channel_terms
from oneapi_mw.settings import Settings

STRICT = BillingTerms(ambiguous="hold", bills_after_disconnect=True, bill_failed_attempts=True)


@pytest.mark.parametrize(
    ("config", "terms"),
    [
        ({}, STRICT),
        ({"ambiguous": "void"}, BillingTerms("void", True, True)),
        ({"bills_after_disconnect": False}, BillingTerms("hold", False, True)),
        ({"bill_failed_attempts": False, "region": "x"}, BillingTerms("hold", True, False)),
        ({"ambiguous": "maybe", "bills_after_disconnect": 0, "bill_failed_attempts": "no"}, STRICT),
        ({"ambiguous": ["void"]}, STRICT),
    ],
)
def test_a_channel_has_the_last_word(config: dict[str, Any], terms: BillingTerms) -> None:
    assert channel_terms(STRICT, config) == terms


def test_settings_have_the_first() -> None:
    assert billing_terms(Settings()) == TERMS
    given = Settings(ambiguous_attempts="hold", bills_after_disconnect=True, bill_failed_attempts=True)
    assert billing_terms(given) == STRICT
