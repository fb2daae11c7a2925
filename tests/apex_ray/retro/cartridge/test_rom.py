"""The ROM's header is what a Mega Drive expects. What the game does is tested in retro/test_sonic_play.py."""

import struct

from apex_ray.retro.cartridge.rom import build_rom


def test_the_header_holds_name_and_checksum():
    rom = build_rom()
    assert rom[0x100:0x110] == b"SEGA MEGA DRIVE "
    stack, start = struct.unpack(">2I", rom[:8])
    assert stack < 0x1000000 and start == 0x200
    checksum = sum(struct.unpack(f">{(len(rom) - 0x200) // 2}H", rom[0x200:])) & 0xFFFF
    assert struct.unpack(">H", rom[0x18E:0x190]) == (checksum,)
    first, last = struct.unpack(">2I", rom[0x1A0:0x1A8])
    assert (first, last) == (0, len(rom) - 1)
    assert len(rom) & (len(rom) - 1) == 0, "a power of two"
    assert b"SONIC" not in rom


def test_the_title_says_what_it_is():
    assert build_rom()[0x120:0x150].startswith(b"DEMO CARTRIDGE ")
