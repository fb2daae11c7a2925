"""The demo cartridge's ROM: a Mega Drive header and the game, built in memory."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

from apex_ray.retro.cartridge.assembler import assemble

SOURCE = Path(__file__).with_name("game.s")
NAME = "the demo cartridge"  # how scores say whose they are
CODE_AT = 0x200
STACK = 0x00FFFD00

# Where a stage is chosen before START begins it (game.s): address in work RAM -> what.
GAME, ZONE, ACT = 0xFF8000, 0xFFFE10, 0xFFFE11


@cache
def build_rom() -> bytes:
    """The cartridge, 4,096 bytes: vectors, header (Sega's layout, with its checksum), code and tiles."""
    code = assemble(SOURCE.read_text(encoding="ascii"), CODE_AT)
    size = 1 << (CODE_AT + len(code) - 1).bit_length()  # a power of two, as real cartridges have
    body = code.ljust(size - CODE_AT, b"\xff")
    checksum = sum(struct.unpack(f">{len(body) // 2}H", body)) & 0xFFFF
    vectors = struct.pack(">64I", STACK, CODE_AT, *[CODE_AT] * 62)
    header = b"".join(
        (
            b"SEGA MEGA DRIVE ",
            b"APEX-RAY 2026   ",
            b"DEMO CARTRIDGE".ljust(48),  # its name in Japan
            b"DEMO CARTRIDGE".ljust(48),  # and elsewhere
            b"GM 00000000-00",
            struct.pack(">H", checksum),
            b"J".ljust(16),  # a pad
            struct.pack(">4I", 0, size - 1, 0xFF0000, 0xFFFFFF),  # ROM and RAM
            b" " * 64,
            b"JUE".ljust(16),  # regions
        )
    )
    return vectors + header + body
