"""A small two-pass assembler for the Motorola 68000: the instructions that game.s uses, in Motorola's syntax.

Encodings are those of the M68000 Family Programmer's Reference Manual (Motorola 1992), sections 2.2 (addressing modes)
and 4 (instructions).
"""

from __future__ import annotations

import ast
import operator
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CONDITIONS = (
    "ra", "sr", "hi", "ls", "cc", "cs", "ne", "eq", "vc", "vs", "pl", "mi", "ge", "lt", "gt", "le",
)  # fmt: skip
SIZES = {"b": 0, "w": 1, "l": 2}
MOVE_SIZES = {"b": 1, "w": 3, "l": 2}  # move has a code of its own
IMMEDIATE = {"ori": 0, "andi": 2, "subi": 4, "addi": 6, "cmpi": 12}  # #value, ea
TO_REGISTER = {"or": 0x8, "sub": 0x9, "cmp": 0xB, "and": 0xC, "add": 0xD}  # ea, dn
UNARY = {"clr": 0x42, "neg": 0x44, "not": 0x46, "tst": 0x4A}  # ea
SHIFTS = {"asr": 0x000, "lsr": 0x008, "lsl": 0x108}  # #count, dn
FIXED = {"nop": 0x4E71, "rts": 0x4E75}
DATA = {"dc.b": "B", "dc.w": "H", "dc.l": "I"}
OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


class AssemblyError(ValueError):
    """A line that is no 68000 assembly, or none that this assembler knows."""


@dataclass
class Assembler:
    """Symbols and the place of the next byte."""

    origin: int
    symbols: dict[str, int] = field(default_factory=dict)
    at: int = 0
    _last_pass: bool = False

    def assemble(self, source: str) -> bytes:
        """The code of `source` as it stands at `origin`. AssemblyError names the line."""
        code = bytearray()
        for self._last_pass in (False, True):  # labels are known after the first pass, which fixes all lengths
            self.at = self.origin
            code.clear()
            for number, line in enumerate(source.splitlines(), 1):
                try:
                    made = self._line(line.split(";")[0].rstrip())
                except (ValueError, LookupError, SyntaxError) as error:
                    reason = "an operand or a size is missing" if isinstance(error, LookupError) else error
                    raise AssemblyError(f"line {number}: {line.strip()!r}: {reason}") from None
                code += made
                self.at += len(made)
        return bytes(code)

    def _line(self, line: str) -> bytes:
        """`name equ value`, or an optional label at the margin and an indented instruction."""
        if constant := re.fullmatch(r"(\w+)\s+equ\s+(.+)", line):
            self.symbols[constant[1]] = self._value(constant[2])
            return b""
        if label := re.match(r"(\w+):", line):
            if not self._last_pass and label[1] in self.symbols:
                raise ValueError(f"{label[1]} is there already")
            self.symbols[label[1]] = self.at
            line = line[label.end() :]
        name, _, rest = line.strip().partition(" ")
        if not name:
            return b""
        operands = [o.strip() for o in rest.split(",")] if rest else []
        if name in DATA:
            values = [self._value(o) for o in operands]
            size = struct.calcsize(DATA[name])
            return b"".join((v % (1 << 8 * size)).to_bytes(size, "big") for v in values)
        words = self._instruction(name, operands)
        return struct.pack(f">{len(words)}H", *(w & 0xFFFF for w in words))

    def _instruction(self, name: str, operands: Sequence[str]) -> list[int]:
        """The words of one instruction."""
        op, _, size = name.partition(".")
        if op in FIXED:
            return [FIXED[op]]
        if op[0] == "b" and op[1:] in CONDITIONS:  # always with a 16-bit displacement
            return [0x6000 | CONDITIONS.index(op[1:]) << 8, self._distance(operands[0])]
        if op == "dbra":
            return [0x51C8 | _register(operands[0]), self._distance(operands[1])]
        if op == "moveq":
            return [0x7000 | _register(operands[1]) << 9 | self._immediate(operands[0], -128, 127) & 0xFF]
        if op == "move" and operands[1] == "sr":
            return [0x46FC, self._immediate(operands[0], 0, 0xFFFF)]
        if op == "move":
            source, extra = self._operand(operands[0], size)
            target, more = self._operand(operands[1], size)
            return [MOVE_SIZES[size] << 12 | (target & 7) << 9 | (target >> 3) << 6 | source, *extra, *more]
        if op == "lea":
            source, extra = self._operand(operands[0], "l")
            return [0x41C0 | _register(operands[1]) << 9 | source, *extra]
        if op in IMMEDIATE:
            _, value = self._operand(operands[0], size)
            target, extra = self._operand(operands[1], size)
            return [IMMEDIATE[op] << 8 | SIZES[size] << 6 | target, *value, *extra]
        if op in ("addq", "subq"):
            count = self._immediate(operands[0], 1, 8) & 7  # 8 is written as 0
            target, extra = self._operand(operands[1], size)
            return [0x5000 | count << 9 | (op == "subq") << 8 | SIZES[size] << 6 | target, *extra]
        if op in TO_REGISTER:
            source, extra = self._operand(operands[0], size)
            return [TO_REGISTER[op] << 12 | _register(operands[1]) << 9 | SIZES[size] << 6 | source, *extra]
        if op in UNARY:
            target, extra = self._operand(operands[0], size)
            return [UNARY[op] << 8 | SIZES[size] << 6 | target, *extra]
        if op == "btst":
            target, extra = self._operand(operands[1], "b")
            return [0x0800 | target, self._immediate(operands[0], 0, 31), *extra]
        if op in SHIFTS:
            count = self._immediate(operands[0], 1, 8) & 7
            return [0xE000 | count << 9 | SIZES[size] << 6 | SHIFTS[op] | _register(operands[1])]
        raise ValueError(f"no instruction {name!r}")

    def _operand(self, text: str, size: str) -> tuple[int, list[int]]:
        """(mode and register as in the last six bits of an instruction, extension words) of an effective address."""
        if m := re.fullmatch(r"(d|a|\(a)([0-7])(\)\+|\))?", text):
            modes = {("d", None): 0, ("a", None): 1, ("(a", ")"): 2, ("(a", ")+"): 3}
            return modes[m[1], m[3]] << 3 | int(m[2]), []
        if m := re.fullmatch(r"(.+)\(pc\)", text):
            return 0o72, [self._distance(m[1])]
        if text.startswith("#"):
            value = self._immediate(text, -(1 << 31), (1 << 32) - 1)
            return 0o74, [value >> 16, value] if size == "l" else [value & 0xFF if size == "b" else value]
        if text.endswith(".w"):  # a short address is sign-extended: 8000 to FFFF are the last 32 KB
            return 0o70, [self._value(text[:-2])]
        value = self._value(text)
        return 0o71, [value >> 16, value]

    def _immediate(self, text: str, low: int, high: int) -> int:
        if not text.startswith("#"):
            raise ValueError(f"expected #value, not {text!r}")
        value = self._value(text[1:])
        if not low <= value <= high:
            raise ValueError(f"{value} is outside {low} to {high}")
        return value

    def _distance(self, label: str) -> int:
        """From the word after the instruction's first to a label."""
        distance = self._value(label) - self.at - 2
        if self._last_pass and not -0x8000 <= distance < 0x8000:
            raise ValueError(f"{label} is too far away")
        return distance

    def _value(self, text: str) -> int:
        """A number ($ is hexadecimal), a symbol, or sums, differences and products of them."""
        return self._tree(ast.parse(re.sub(r"\$(?=[0-9A-Fa-f])", "0x", text.strip()), mode="eval").body)

    def _tree(self, node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name) and (node.id in self.symbols or not self._last_pass):
            return self.symbols.get(node.id, 0)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._tree(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](self._tree(node.left), self._tree(node.right))
        raise ValueError(f"no value: {ast.unparse(node)}")


def _register(text: str) -> int:
    if not re.fullmatch(r"[da][0-7]", text):
        raise ValueError(f"no register: {text!r}")
    return int(text[1])


def assemble(source: str, origin: int) -> bytes:
    """The machine code of `source`, which will stand at address `origin`. AssemblyError names line and reason."""
    return Assembler(origin).assemble(source)
