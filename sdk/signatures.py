"""What a file is by its first bytes: for the error when it is not a picture that can be read."""

from __future__ import annotations

from sdk.errors import DecodeFailed, SdkError, UnsupportedImage

READ = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"P3": "PPM",
    b"P6": "PPM",
    b"P5": "PPM",
}
"""Beginnings of files that are read: one that starts so and is not read is damaged."""
OTHERS = {
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript file",
    b"8BPS": "a Photoshop document",
    b"\0\0\1\0": "an icon",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML or SVG file",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"PK\3\4": "a ZIP archive",
    b"\x0a\x05\x01": "a PCX file",
    b"\0\0\2\0": "a TGA file",
    b"\xff\x0a": "a JPEG XL file",
    b"\0\0\0\x0cJXL ": "a JPEG XL file",
    b"FUJIFILM": "a raw photograph",
}
VIDEO = {
    b"\x1aE\xdf\xa3": 0, b"FLV": 0, b"OggS": 0, b"\0\0\1\xba": 0, b"\0\0\1\xb3": 0, b"DKIF": 0, b"\x30\x26\xb2\x75": 0,
    b"AVI ": 8, b"ftyp": 4, b"moov": 4, b"mdat": 4, b"wide": 4,
}  # fmt: skip
"""Marks of video containers and where they stand."""
HEAD = 256
"""Bytes from the beginning that tell what a file is."""
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}


def is_heif(head: bytes) -> bool:
    """Whether ``head`` opens a HEIF file other than AVIF."""
    brands = _brands(head)
    return bool(brands & HEIF_BRANDS) and not brands & AVIF_BRANDS


def is_video(head: bytes) -> bool:
    """Whether ``head``, the first :data:`HEAD` bytes of a file, opens a container of video and no picture."""
    is_picture = any(head.startswith(mark) for mark in READ) or _brands(head) & (HEIF_BRANDS | AVIF_BRANDS)
    return not is_picture and _marks_video(head)


def explain_unread(head: bytes, name: str) -> SdkError:
    """The error for a file that no decoder claims; ``head`` is its first :data:`HEAD` bytes."""
    kind = next((READ[mark] for mark in READ if head.startswith(mark)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "WebP"
    if _brands(head) & AVIF_BRANDS:
        kind = "AVIF"
    if kind is not None:
        return DecodeFailed(
            f"{name} starts like a {kind} file and has no header that can be read",
            remedy="the file is damaged or incomplete; fetch it again from its source",
        )
    if _marks_video(head):
        return UnsupportedImage(f"{name} is a video", remedy="give it to sdk.stream, or: imdl stream")
    other = next((OTHERS[mark] for mark in OTHERS if head.startswith(mark)), "of no kind that is known here")
    return UnsupportedImage(
        f"{name} is {other}", remedy="convert it to JPEG, PNG, WebP, TIFF, GIF, BMP, JPEG 2000, AVIF, HEIC or PPM"
    )


def _brands(head: bytes) -> set[bytes]:
    """Major and compatible brands of an ISO base media file."""
    if head[4:8] != b"ftyp":
        return set()
    box = head[8 : min(int.from_bytes(head[:4], "big"), len(head))]
    return {box[i : i + 4] for i in range(0, len(box), 4) if i != 4}


def _marks_video(head: bytes) -> bool:
    transport_stream = any(
        head[start::stride][:1] == b"G" and head[start + stride : start + stride + 1] == b"G"
        for start, stride in ((0, 188), (4, 192))
    )
    return transport_stream or any(head[at : at + len(mark)] == mark for mark, at in VIDEO.items())
