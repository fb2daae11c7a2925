"""The assembler against encodings worked out by hand from the M68000 Programmer's Reference Manual."""

import pytest

from apex_ray.retro.cartridge.assembler import Assembler, AssemblyError, assemble

ENCODINGS = {
    "nop": "4E71",
    "rts": "4E75",
    "moveq #-1,d3": "76FF",
    "move.w #$2700,sr": "46FC 2700",
    "move.b d1,d2": "1401",
    "move.l a0,(a1)+": "22C8",
    "move.w (a0)+,(a2)": "3498",
    "move.l #$40000003,(a1)": "22BC 4000 0003",
    "move.b #$40,$A10009": "13FC 0040 00A1 0009",
    "move.w $D008.w,d0": "3038 D008",
    "move.w d0,$B008.w": "31C0 B008",
    "move.w $D008.w,$B010.w": "31F8 D008 B010",
    "move.w #-8,$8004.w": "31FC FFF8 8004",
    "lea $C00004,a1": "43F9 00C0 0004",
    "lea here(pc),a0\nhere: nop": "41FA 0002 4E71",
    "addi.w #128,d1": "0641 0080",
    "subi.w #$1000,$F700.w": "0478 1000 F700",
    "andi.b #$0F,d0": "0200 000F",
    "ori.l #1,d7": "0087 0000 0001",
    "cmpi.b #3,$8000.w": "0C38 0003 8000",
    "addq.w #1,d2": "5242",
    "addq.w #8,d5": "5045",
    "subq.b #1,$FE12.w": "5338 FE12",
    "add.w d2,d0": "D042",
    "sub.w d0,d1": "9240",
    "and.l d3,d4": "C883",
    "or.b d1,d7": "8E01",
    "cmp.w d4,d2": "B444",
    "cmp.w $800C.w,d0": "B078 800C",
    "clr.l $FE26.w": "42B8 FE26",
    "neg.w d4": "4444",
    "not.b d7": "4607",
    "tst.w $8006.w": "4A78 8006",
    "btst #3,d0": "0800 0003",
    "btst #7,$8000.w": "0838 0007 8000",
    "lsl.b #2,d1": "E509",
    "lsr.w #3,d1": "E649",
    "asr.l #8,d0": "E080",
    "bra there\nnop\nthere: nop": "6000 0004 4E71 4E71",
    "back: nop\nbne back": "4E71 6600 FFFC",
    "bsr there\nthere: rts": "6100 0002 4E75",
    "back: dbra d0,back": "51C8 FFFE",
    "dc.b 1,$FF,-1,0": "01FF FF00",
    "dc.w $8004,end-start\nstart: nop\nend:": "8004 0002 4E71",
    "dc.l there\nthere:": "0000 0204",
    "size equ 3*4-2\nmoveq #size,d0": "700A",
    "; only a comment": "",
}


@pytest.mark.parametrize("source", ENCODINGS)
def test_an_instruction_becomes_these_bytes(source):
    assert assemble(source, 0x200) == bytes.fromhex(ENCODINGS[source])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nop\nmove.w d0", "line 2: 'move.w d0': an operand or a size is missing"),
        ("movex d0,d1", "no instruction 'movex'"),
        ("bra nowhere", "no value: nowhere"),
        ("addq.w #9,d0", "9 is outside 1 to 8"),
        ("moveq #200,d0", "200 is outside -128 to 127"),
        ("a: nop\na: nop", "a is there already"),
        ("moveq d1,d0", "expected #value"),
        ("lsl.w #1,(a0)", "no register"),
        ("move.w #__import__('os'),d0", "no value"),
    ],
)
def test_a_mistake_names_line_and_reason(source, reason):
    with pytest.raises(AssemblyError, match="line") as caught:
        assemble(source, 0)
    assert reason in str(caught.value)


def test_a_branch_too_far():
    with pytest.raises(AssemblyError, match="far is too far away"):
        assemble("bra far\n" + "nop\n" * 0x4000 + "far: nop", 0)


def test_symbols_are_left_for_the_caller():
    made = Assembler(0x200)
    made.assemble("nop\nlabel: nop\nname equ label+2")
    assert made.symbols == {"label": 0x202, "name": 0x204}
