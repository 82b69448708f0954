"""One controller state: the names, their order and their ranges, shared by every stage.

A control is named by its position on the pad, never by its printed label: a Switch pad's A sits
``east``. Sticks are ``[x, y]`` in [-1, 1], x right, **negative y is up**.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

BUTTONS: Final = (
    "south", "east", "west", "north",
    "dpad_up", "dpad_down", "dpad_left", "dpad_right",
    "left_shoulder", "right_shoulder", "left_trigger", "right_trigger",
    "left_thumb", "right_thumb", "start", "back", "guide",
)  # fmt: skip
STICKS: Final = ("j_left", "j_right")
TRIGGERS: Final = ("left_trigger", "right_trigger")
DPAD: Final = ("dpad_up", "dpad_down", "dpad_left", "dpad_right")
THUMB_OF: Final = {"j_left": "left_thumb", "j_right": "right_thumb"}
CONTROLS: Final = (*BUTTONS, *STICKS)

BUTTON_INDEX: Final = {name: i for i, name in enumerate(BUTTONS)}
TRIGGER_SLICE: Final = slice(BUTTON_INDEX["left_trigger"], BUTTON_INDEX["right_trigger"] + 1)
TRIGGER_PRESSED_FROM: Final = 0.5  # half travel, the rule of the labels


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """A run of T controller states.

    buttons: (T, 17) bool in the order of ``BUTTONS``; a trigger is True from half travel.
    sticks: (T, 2, 2) float32, [left, right] x [x, y], in [-1, 1]; negative y is up.
    triggers: (T, 2) float32, [left, right] analog travel in [0, 1].
    """

    buttons: np.ndarray
    sticks: np.ndarray
    triggers: np.ndarray

    def __post_init__(self) -> None:
        length = len(self.buttons)
        for name, shape in (("buttons", (length, 17)), ("sticks", (length, 2, 2)), ("triggers", (length, 2))):
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"States.{name} must have shape {shape}, found {found}")

    def __len__(self) -> int:
        return len(self.buttons)

    def __getitem__(self, index: slice | np.ndarray) -> States:
        return States(self.buttons[index], self.sticks[index], self.triggers[index])

    @classmethod
    def rest(cls, length: int = 1) -> States:
        """Nothing pressed, both sticks centred."""
        return cls(
            np.zeros((length, 17), bool),
            np.zeros((length, 2, 2), np.float32),
            np.zeros((length, 2), np.float32),
        )

    @classmethod
    def all_pressed(cls, length: int = 1) -> States:
        """Every button and trigger held, both sticks centred."""
        rest = cls.rest(length)
        return cls(np.ones_like(rest.buttons), rest.sticks, np.ones_like(rest.triggers))


def parse_state(text: str) -> States:
    """One state from words: ``"south, dpad_up, j_left=0.5:-1, left_trigger=0.4"``; an empty text is rest.

    A button stands alone; a stick takes ``x:y`` in [-1, 1]; a trigger stands alone for full travel or takes
    its travel in [0, 1]. Raises ValueError, one sentence, on anything else.
    """
    states = States.rest()
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, given, value = (part.strip() for part in word.partition("="))
        if name not in CONTROLS:
            raise ValueError(f"state: expected controls among {', '.join(CONTROLS)}, found {name!r}")
        if name in STICKS:
            states.sticks[0, STICKS.index(name)] = _numbers(word, value.split(":"), 2, -1.0)
        elif name in TRIGGERS:
            (travel,) = _numbers(word, [value], 1, 0.0) if given else (1.0,)
            states.triggers[0, TRIGGERS.index(name)] = travel
            states.buttons[0, BUTTON_INDEX[name]] = travel >= TRIGGER_PRESSED_FROM
        elif given:
            raise ValueError(f"state: expected {name} without a value, as it is a button, found {word!r}")
        else:
            states.buttons[0, BUTTON_INDEX[name]] = True
    return states


def _numbers(word: str, values: list[str], count: int, least: float) -> list[float]:
    """Exactly ``count`` numbers in [least, 1]."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(least <= number <= 1 for number in numbers):
        form = "one number" if count == 1 else "x:y, two numbers"
        raise ValueError(f"state: expected {form} in {least:g}..1 after '=', found {word!r}")
    return numbers
