"""The one function that turns usage into quota."""

from __future__ import annotations

from oneapi_mw.pricing.price import RATIO_SCALE, SCALE, CompiledPrice
from oneapi_mw.types import Quota
from oneapi_mw.usage import Usage

_DIVISOR = SCALE * RATIO_SCALE


def charge(usage: Usage, price: CompiledPrice, *, group_ratio: int = RATIO_SCALE) -> Quota:
    """Quota owed for `usage`.

    Args:
        usage: inclusive counts; parts larger than their whole are cut, in the order 1 h write, 5 min write, read.
        price: compiled, after window and tier.
        group_ratio: millionths.

    Returns: quota units, rounded up once; at least 1 when the input price and the ratio are not zero.
    Raises: `ValueError` when a count or the ratio is negative.
    """
    if usage.input_tokens < 0 or usage.output_tokens < 0 or group_ratio < 0:
        raise ValueError("token counts and group ratio must not be negative")
    left = usage.input_tokens
    write_1h = min(max(usage.cache_write_1h, 0), left)
    left -= write_1h
    write_5m = min(max(usage.cache_write_5m, 0), left)
    left -= write_5m
    read = min(max(usage.cache_read, 0), left)
    left -= read
    total = (
        left * price.input
        + read * price.cache_read
        + write_5m * price.cache_write_5m
        + write_1h * price.cache_write_1h
        + usage.output_tokens * price.output
    ) * group_ratio
    quota = -(-total // _DIVISOR)
    if quota == 0 and price.input and group_ratio:
        return 1
    return quota


def worst_case(price: CompiledPrice, *, input_tokens: int, output_tokens: int, group_ratio: int = RATIO_SCALE) -> Quota:
    """Most that a request of this size can cost: every input token at the dearest input price."""
    dearest = max(price.input, price.cache_read, price.cache_write_5m, price.cache_write_1h)
    total = (input_tokens * dearest + output_tokens * price.output) * group_ratio
    quota = -(-total // _DIVISOR)
    return quota or (1 if price.input and group_ratio else 0)
