"""Pictures of a game with the controller drawn below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from apex_ray.types import ByteArray

STRIP = 24  # pixels below the screen
# The cross, drawn as arrows: the corners of each around its button's middle. The other buttons show their names.
ARROWS = {
    "LEFT": ((-5, 0), (4, -5), (4, 5)),
    "RIGHT": ((5, 0), (-4, -5), (-4, 5)),
    "UP": ((0, -5), (-5, 4), (5, 4)),
    "DOWN": ((0, 5), (-5, -4), (5, -4)),
}
ON, OFF, EDGE, GROUND = (250, 200, 40), (70, 74, 82), (120, 124, 132), (22, 24, 28)


def draw(screen: ByteArray, pressed: Iterable[str], actions: Sequence[Iterable[str]], note: str = "") -> ByteArray:
    """`screen` uint8 [H, W, 3] with a strip below: the buttons that actions use, bright where pressed, and a note.

    Returns uint8 [H + STRIP, W, 3].
    """
    height, width, _ = screen.shape
    picture = np.empty((height + STRIP, width, 3), np.uint8)
    picture[:height] = screen
    picture[height:] = _strip(frozenset(pressed), _buttons(actions), width, note)
    return picture


def _buttons(actions: Sequence[Iterable[str]]) -> tuple[str, ...]:
    used = {button for action in actions for button in action}
    return (*(b for b in ARROWS if b in used), *sorted(used - set(ARROWS)))


@cache
def _strip(pressed: frozenset[str], buttons: tuple[str, ...], width: int, note: str) -> ByteArray:
    strip = Image.new("RGB", (width, STRIP), GROUND)
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
    x = 4
    for button in buttons:
        side = 20 if button in ARROWS else max(20, int(pen.textlength(button, font)) + 10)
        on = button in pressed
        middle, ink = (x + side // 2, STRIP // 2), GROUND if on else EDGE
        pen.rounded_rectangle((x, 3, x + side, STRIP - 4), 4, fill=ON if on else OFF, outline=EDGE)
        if button in ARROWS:
            pen.polygon([(middle[0] + dx, middle[1] + dy) for dx, dy in ARROWS[button]], fill=ink)
        else:
            pen.text(middle, button, fill=ink, font=font, anchor="mm")
        x += side + 4
    if note:
        pen.text((width - 5, STRIP / 2), note, fill=ON, font=font, anchor="rm")
    return np.asarray(strip)
