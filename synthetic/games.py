"""Real games that a controller state plays: Atari 2600 (ale-py) and Freedoom (vizdoom).

Both come with their games in the package. They are development tools: imported where they are used.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from typing import Any, Final, Protocol

import numpy as np

from templates.controls import BUTTON_INDEX, States

# Games that training never sees. Names: "atari:<rom>" or "doom:<wad>/<map>".
EVAL_ATARI: Final = (
    "asteroids", "battle_zone", "bowling", "centipede", "enduro", "freeway", "hero", "jamesbond",
    "ms_pacman", "pitfall", "pooyan", "seaquest", "space_invaders", "tennis", "yars_revenge",
)  # fmt: skip
TRAIN_ATARI: Final = (
    "adventure", "alien", "amidar", "assault", "asterix", "atlantis", "bank_heist", "beam_rider", "berzerk",
    "boxing", "breakout", "carnival", "chopper_command", "crazy_climber", "crossbow", "darkchambers",
    "defender", "demon_attack", "donkey_kong", "double_dunk", "elevator_action", "et", "fishing_derby",
    "frogger", "frostbite", "galaxian", "gopher", "gravitar", "haunted_house", "ice_hockey",
    "journey_escape", "kaboom", "kangaroo", "keystone_kapers", "king_kong", "klax", "krull",
    "kung_fu_master", "laser_gates", "lost_luggage", "mario_bros", "miniature_golf", "montezuma_revenge",
    "mr_do", "name_this_game", "pacman", "phoenix", "pitfall2", "pong", "private_eye", "qbert", "riverraid",
    "road_runner", "robotank", "sir_lancelot", "skiing", "solaris", "star_gunner", "superman", "surround",
    "time_pilot", "trondead", "turmoil", "tutankham", "up_n_down", "venture", "video_pinball",
    "wizard_of_wor", "word_zapper", "zaxxon",
)  # fmt: skip
EVAL_MAPS: Final = (
    "freedoom1/E1M1", "freedoom1/E2M3", "freedoom1/E3M5", "freedoom1/E4M7", "freedoom2/MAP01",
    "freedoom2/MAP07", "freedoom2/MAP13", "freedoom2/MAP19", "freedoom2/MAP24", "freedoom2/MAP29",
)  # fmt: skip
_MAPS: Final = (
    *(f"freedoom1/E{episode}M{level}" for episode in range(1, 5) for level in range(1, 10)),
    *(f"freedoom2/MAP{level:02}" for level in range(1, 33)),
)
EVAL_GAMES: Final = (*(f"atari:{rom}" for rom in EVAL_ATARI), *(f"doom:{level}" for level in EVAL_MAPS))
TRAIN_GAMES: Final = (
    *(f"atari:{rom}" for rom in TRAIN_ATARI),
    *(f"doom:{level}" for level in _MAPS if level not in EVAL_MAPS),
)

_DOOM_SIZES: Final = ((640, 360), (640, 480), (800, 600), (1280, 720))
_WALK, _STRAFE, _TURN, _LOOK = 14.0, 12.0, 3.0, 0.8  # Doom units or degrees per tick at full tilt

# Index into ALE's actions by (down - up + 1, right - left + 1), without and with the fire button.
_ALE_ACTION: Final = (((7, 2, 6), (4, 0, 3), (9, 5, 8)), ((15, 10, 14), (12, 1, 11), (17, 13, 16)))


class Game(Protocol):
    """A running game. ``hz``: its own ticks per second."""

    hz: float

    def step(self, state: States, ticks: int) -> None:
        """Hold the first of ``state`` for some ticks; a game that ends begins anew."""

    def picture(self) -> np.ndarray:
        """What the screen shows: (H, W, 3) uint8 RGB, at the game's own size."""


@contextmanager
def open_game(name: str, seed: int, size_wh: tuple[int, int] | None = None) -> Iterator[Game]:
    """Start a game by name. ``size_wh`` is the screen of a Doom game; drawn from the seed when absent."""
    kind, _, title = name.partition(":")
    if kind == "atari":
        yield _Atari(title, seed)
    elif kind == "doom":
        game = _Doom(title, seed, size_wh or _DOOM_SIZES[seed % len(_DOOM_SIZES)])
        try:
            yield game
        finally:
            game.close()
    else:
        raise ValueError(f"expected a game named atari:<rom> or doom:<wad>/<map>, found {name!r}")


class _Atari:
    """The left stick or the d-pad steers; south and the right trigger fire."""

    hz = 60.0

    def __init__(self, rom: str, seed: int) -> None:
        import ale_py
        from ale_py import roms

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale: Any = ale_py.ALEInterface()
        self._ale.setInt("random_seed", seed)
        self._ale.setFloat("repeat_action_probability", 0.0)
        path = roms.get_rom_path(rom)
        if path is None:
            raise ValueError(f"expected a game that ale-py ships, found atari:{rom}; see ale_py.roms")
        self._ale.loadROM(path)

    def step(self, state: States, ticks: int) -> None:
        import ale_py

        x, y = _direction(state)
        fire = int(_pressed(state, "south") or _pressed(state, "right_trigger"))
        action = ale_py.Action(_ALE_ACTION[fire][y + 1][x + 1])
        for _ in range(ticks):
            if self._ale.game_over():
                self._ale.reset_game()
            self._ale.act(action)

    def picture(self) -> np.ndarray:
        return np.asarray(self._ale.getScreenRGB())


class _Doom:
    """The left stick walks, the right one turns and looks; the right trigger fires, south opens doors."""

    hz = 35.0

    def __init__(self, level: str, seed: int, size_wh: tuple[int, int]) -> None:
        import vizdoom as vz

        wad, _, chapter = level.partition("/")
        button = vz.Button
        self._game: Any = vz.DoomGame()
        self._game.set_doom_game_path(os.path.join(os.path.dirname(vz.__file__), f"{wad}.wad"))
        self._game.set_doom_map(chapter)
        self._game.set_screen_resolution(getattr(vz.ScreenResolution, "RES_{}X{}".format(*size_wh)))
        self._game.set_screen_format(vz.ScreenFormat.RGB24)
        self._game.set_window_visible(False)
        self._game.set_sound_enabled(False)
        self._game.set_render_hud(True)
        self._game.set_render_minimal_hud(bool(seed % 3 == 0))
        self._game.set_render_crosshair(bool(seed % 2))
        self._game.set_mode(vz.Mode.PLAYER)
        self._game.set_seed(seed)
        self._game.set_available_buttons(
            [
                button.MOVE_FORWARD_BACKWARD_DELTA,
                button.MOVE_LEFT_RIGHT_DELTA,
                button.TURN_LEFT_RIGHT_DELTA,
                button.LOOK_UP_DOWN_DELTA,
                button.ATTACK,
                button.USE,
                button.JUMP,
                button.SELECT_NEXT_WEAPON,
            ]
        )
        # The engine leaves its settings and a folder where it starts; nobody needs them.
        self._folder = tempfile.TemporaryDirectory()
        self._game.set_doom_config_path(os.path.join(self._folder.name, "settings.ini"))
        with chdir(self._folder.name):
            self._game.init()
        self._begin()

    def step(self, state: States, ticks: int) -> None:
        (left_x, left_y), (right_x, right_y) = (_past_dead_zone(stick) for stick in state.sticks[0])
        dpad_x, dpad_y = _direction(state)
        walk = -left_y if left_y else -float(dpad_y)
        turn = right_x if right_x else 0.6 * dpad_x
        action = [
            _WALK * walk,
            _STRAFE * left_x,
            _TURN * turn,
            _LOOK * right_y,
            _pressed(state, "right_trigger") or _pressed(state, "left_trigger"),
            _pressed(state, "south") or _pressed(state, "west"),
            _pressed(state, "east"),
            _pressed(state, "right_shoulder"),
        ]
        self._game.make_action(action, ticks)
        if self._game.is_episode_finished():
            self._begin()

    def picture(self) -> np.ndarray:
        return np.array(self._game.get_state().screen_buffer)

    def close(self) -> None:
        self._game.close()
        self._folder.cleanup()

    def _begin(self) -> None:
        self._game.new_episode()
        # A dead player shows nothing but the floor.
        for command in ("sv_cheats 1", "god", "give weapons", "give ammo"):
            self._game.send_game_command(command)


def _pressed(state: States, button: str) -> bool:
    return bool(state.buttons[0, BUTTON_INDEX[button]])


def _direction(state: States) -> tuple[int, int]:
    """(right - left, down - up) of the d-pad, or of the left stick beyond half tilt."""
    x = _pressed(state, "dpad_right") - _pressed(state, "dpad_left")
    y = _pressed(state, "dpad_down") - _pressed(state, "dpad_up")
    if x or y:
        return x, y
    stick_x, stick_y = state.sticks[0, 0]
    return round(float(stick_x) * 0.98), round(float(stick_y) * 0.98)


def _past_dead_zone(stick: np.ndarray) -> tuple[float, float]:
    return (float(stick[0]), float(stick[1])) if np.hypot(*stick) > 0.15 else (0.0, 0.0)
