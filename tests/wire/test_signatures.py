"""What a file is by its first bytes."""

from __future__ import annotations

import pytest

from oneapi_mw.wire.signatures import SIGNATURE_BYTES, media_type_by_signature


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"GIF87a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\0\0\0\0AVI LIST", ""),
        (b"FORM\0\0\0\0AIFF", "audio/aiff"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypmif1", "image/heif"),
        (b"\0\0\0\x18ftypM4A ", "audio/m4a"),
        (b"\0\0\0\x18ftypisom", ""),
        (b"%PDF-1.7", "application/pdf"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90", "audio/mpeg"),
        (b"\xff\xf1\x50", "audio/aac"),
        (b"OggS", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"BM", ""),
        (b"<svg", ""),
        (b"<!doctype html>", ""),
        (b'{"a":1}', ""),
        (b"", ""),
    ],
)
def test_types(head: bytes, media_type: str) -> None:
    assert media_type_by_signature(head) == media_type
    padded = head.ljust(SIGNATURE_BYTES, b"\0")
    assert media_type_by_signature(padded + b"anything") == media_type
