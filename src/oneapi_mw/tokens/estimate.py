"""Token estimates without a tokenizer: from lengths alone, for holds and for answers nobody counted.

Measured against the tiktoken encodings o200k_base and cl100k_base (ratio of estimate to real count):

    sample                 input estimate      output estimate
    English prose          1.59  1.59          1.36  1.36
    German prose           1.54  1.15          1.32  1.00
    Python source          1.41  1.40          1.21  1.20
    Chinese                1.95  1.18          1.20  0.72
    Russian                3.19  1.63          2.19  1.12
    JSON with numbers      0.74  0.74          0.63  0.63
    base64 as text         0.49  0.46          0.42  0.40

The input side errs upwards for prose in every language, since a hold that is too small costs the operator;
only dense machine text (digits, hashes, base64) is underestimated. The output side is charged when an upstream
reports no usage, so it aims at the middle.
"""

from __future__ import annotations

from typing import Any

from oneapi_mw.jsontext import dumps

MESSAGE_TOKENS = 4
"""What the role markers of a message cost, at most."""
REPLY_TOKENS = 3
IMAGE_TOKENS = {"low": 100, "high": 1_600, "auto": 1_600, "original": 10_000}
"""Upper ends of the vendors' tile and patch tables for each `detail`."""
AUDIO_CHARS_PER_TOKEN = 400
"""Base64 characters: ten tokens a second at 24 kbit/s, the thinnest speech in use."""
FILE_CHARS_PER_TOKEN = 4
"""Base64 characters of a text file; of a PDF this is more than its pages cost."""
MAX_FILE_TOKENS = 200_000
FILE_ID_TOKENS = 5_000
"""An uploaded file whose size is not known here."""


def estimate_tokens(text_bytes: int) -> int:
    """Tokens in `text_bytes` UTF-8 bytes of generated text, rounded up."""
    return (2 * text_bytes + 6) // 7


def text_tokens(text: str) -> int:
    """Tokens in a piece of prompt, erring upwards. Linear, at the speed of a memory copy."""
    length = len(text)
    if text.isascii():
        return (length + 2) // 3
    extra = len(text.encode("utf-8", "surrogatepass")) - length  # 1, 2 or 3 per character beyond ASCII
    return max(0, length - extra // 2) // 3 + (7 * extra) // 10 + 1


def json_tokens(value: Any) -> int:
    """Tokens in a JSON value that the model reads as text: tool declarations, schemas, arguments."""
    return (len(dumps(value)) + 2) // 3


def image_tokens(detail: object) -> int:
    """Tokens of one image; its bytes are never looked at."""
    return IMAGE_TOKENS.get(detail, IMAGE_TOKENS["high"]) if isinstance(detail, str) else IMAGE_TOKENS["high"]


def audio_tokens(base64_chars: int) -> int:
    """Tokens of recorded sound given as base64."""
    return base64_chars // AUDIO_CHARS_PER_TOKEN + 1


def file_tokens(base64_chars: int) -> int:
    """Tokens of a file given as base64."""
    return min(base64_chars // FILE_CHARS_PER_TOKEN + 1, MAX_FILE_TOKENS)
