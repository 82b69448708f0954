"""Controller logs, whatever wrote them -> one state per video frame.

truth.parquet    one row per frame, by ``frame_index``
truth.jsonl      a recorder's lines, one per frame, by ``frame_id``
samples.parquet  SDL samples at a rate of their own; each frame gets the one nearest to its own time

A log is read strictly: what it says decides every score, so a doubtful one is refused in one sentence.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from extraction.records import SourceError
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, STICKS, TRIGGER_PRESSED_FROM, TRIGGERS, States

_CONTROL_FIELDS: Final = [
    *((name, pa.bool_()) for name in BUTTONS),
    *((name, pa.list_(pa.float32())) for name in STICKS),
]
_TRAVEL_FIELDS: Final = [(f"{name}_value", pa.float32()) for name in TRIGGERS]
OPTIONAL: Final = tuple(name for name, _ in _TRAVEL_FIELDS)

# Other widths of integers and floats, and lists of a fixed size, are read as well.
TRUTH_SCHEMA: Final = pa.schema(
    [("frame_index", pa.int64()), ("timestamp", pa.float64()), *_CONTROL_FIELDS, *_TRAVEL_FIELDS]
)
SAMPLES_SCHEMA: Final = pa.schema([("timestamp_us", pa.int64()), *_CONTROL_FIELDS, *_TRAVEL_FIELDS])

# What the OBS plugin input-rec writes, by our names. Its axes are SDL's: 16 bits with sign, negative y is up.
_INPUT_REC_NAMES: Final = {"left_thumb": "LEFT_STICK", "right_thumb": "RIGHT_STICK"}
INPUT_REC_BUTTONS: Final = {name: _INPUT_REC_NAMES.get(name, name.upper()) for name in BUTTONS if name not in TRIGGERS}
INPUT_REC_AXES: Final = {"j_left": ("LEFTX", "LEFTY"), "j_right": ("RIGHTX", "RIGHTY")}
INPUT_REC_SCHEMA: Final = pa.schema(
    [("time", pa.int64())]
    + [(column, pa.bool_()) for column in INPUT_REC_BUTTONS.values()]
    + [(column, pa.int16()) for pair in INPUT_REC_AXES.values() for column in pair]
    + [(name.upper(), pa.int16()) for name in TRIGGERS]
)
SDL_AXIS_MAX: Final = 32767

MAX_LINE_BYTES: Final = 64_000
MAX_FILE_BYTES: Final = 1_000_000_000
NEAREST_WITHIN_S: Final = 0.5  # a frame that is farther from every sample has no known state


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """T logged controller states, each value with a word on whether it is known.

    frame_index: (T,) int64, increasing.
    time_s: (T,) float64, the frames' presentation times.
    buttons: (T, 17) bool in the order of ``BUTTONS``; False where unknown.
    known: (T, 19) bool in the order of ``CONTROLS``, False where the log has no value for the control.
    sticks: (T, 2, 2) float64, [left, right] x [x, y] in [-1, 1], negative y is up; NaN where unknown.
    triggers: (T, 2) float64 analog travel in [0, 1]; NaN where the log keeps none.
    confidence: (T,) float64 in [0, 1]; NaN where the log keeps none.
    """

    frame_index: np.ndarray
    time_s: np.ndarray
    buttons: np.ndarray
    known: np.ndarray
    sticks: np.ndarray
    triggers: np.ndarray
    confidence: np.ndarray

    def __post_init__(self) -> None:
        length = len(self.frame_index)
        shapes: dict[str, tuple[int, ...]] = {
            "time_s": (),
            "buttons": (len(BUTTONS),),
            "known": (len(CONTROLS),),
            "sticks": (2, 2),
            "triggers": (2,),
            "confidence": (),
        }
        for name, tail in shapes.items():
            found = getattr(self, name).shape
            if found != (length, *tail):
                raise ValueError(f"Log.{name} must have shape {(length, *tail)}, found {found}")
        if length and not (np.diff(self.frame_index) > 0).all():
            raise ValueError("Log.frame_index must increase from row to row, found a repeat or a step back")

    def __len__(self) -> int:
        return len(self.frame_index)

    def __getitem__(self, rows: np.ndarray) -> Log:
        return Log(
            self.frame_index[rows],
            self.time_s[rows],
            self.buttons[rows],
            self.known[rows],
            self.sticks[rows],
            self.triggers[rows],
            self.confidence[rows],
        )

    @classmethod
    def of_states(cls, states: States, first: int = 0, fps: float = 60.0) -> Log:
        """A log in which everything is known, its frames numbered from ``first``."""
        length = len(states)
        frame_index = np.arange(first, first + length)
        return cls(
            frame_index,
            frame_index / fps,
            states.buttons,
            np.ones((length, len(CONTROLS)), bool),
            states.sticks.astype(np.float64),
            states.triggers.astype(np.float64),
            np.full(length, np.nan),
        )

    @classmethod
    def of_table(cls, table: pa.Table) -> Log:
        """Read ``actions.parquet`` or ``truth.parquet``; a missing column is a ValueError."""
        _require_columns(table, ("frame_index", "timestamp", *CONTROLS))
        return _of_columns(table, table["frame_index"].to_numpy(), _floats(table["timestamp"]))

    def at(self, frame_index: np.ndarray) -> Log:
        """The rows of these frames; a frame that the log lacks is unknown in every control."""
        row = np.searchsorted(self.frame_index, frame_index)
        inside = row < len(self)
        inside[inside] = self.frame_index[row[inside]] == frame_index[inside]
        row[~inside] = -1
        time_s = np.full(len(row), np.nan)
        time_s[inside] = self.time_s[row[inside]]
        return self.spread(row, frame_index, time_s)

    def spread(self, row: np.ndarray, frame_index: np.ndarray, time_s: np.ndarray) -> Log:
        """The states of some rows, repeats allowed, as those of other frames; row -1 is unknown."""
        here = row >= 0

        def fill(values: np.ndarray, unknown: float) -> np.ndarray:
            whole = np.full((len(row), *values.shape[1:]), unknown, values.dtype)
            whole[here] = values[row[here]]
            return whole

        return Log(
            frame_index,
            time_s,
            fill(self.buttons, False),
            fill(self.known, False),
            fill(self.sticks, np.nan),
            fill(self.triggers, np.nan),
            fill(self.confidence, np.nan),
        )


def read_truth(path: Path) -> Log:
    """``truth.parquet``, one row per frame (``TRUTH_SCHEMA``); SourceError where it is not that."""
    try:
        table = _read_parquet(path, TRUTH_SCHEMA)
        _require_increasing(table, "timestamp")
        return _checked(Log.of_table(table))
    except (ValueError, OSError) as error:
        raise _refusal(path, error) from error


class RecorderRow(BaseModel):
    """One line of a recorder. Fields that are not named here are not read."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    frame_id: int = Field(ge=0)
    """Number of the video's frame from 0, or of its picture."""
    timestamp: float
    """Seconds, from any start."""
    j_left: tuple[Annotated[float, Field(ge=-1, le=1)], Annotated[float, Field(ge=-1, le=1)]]
    """x, y; negative y is up."""
    j_right: tuple[Annotated[float, Field(ge=-1, le=1)], Annotated[float, Field(ge=-1, le=1)]]
    buttons: dict[str, float] | list[float]
    """0 or 1 by name, a button that is missing is unknown; or all 17 in the order of ``BUTTONS``. Triggers may lie
    between and are held from half their travel."""

    @field_validator("buttons")
    @classmethod
    def _are_pressed_or_not(cls, given: dict[str, float] | list[float]) -> dict[str, float] | list[float]:
        if isinstance(given, list) and len(given) != len(BUTTONS):
            raise ValueError(f"expected {len(BUTTONS)} values ({', '.join(BUTTONS)}), found {len(given)}")
        values = given if isinstance(given, dict) else dict(zip(BUTTONS, given, strict=True))
        for name, value in values.items():
            if name not in BUTTON_INDEX:
                raise ValueError(f"expected buttons among {', '.join(BUTTONS)}, found {name}")
            if not (0 <= value <= 1 if name in TRIGGERS else value in (0, 1)):
                raise ValueError(f"expected 0 or 1 for {name}, found {value:g}")
        return given

    def pressure(self) -> list[float]:
        """0 to 1 for each of ``BUTTONS``, NaN where the line has no value."""
        if isinstance(self.buttons, list):
            return self.buttons
        return [self.buttons.get(name, np.nan) for name in BUTTONS]


def read_recorder(path: Path) -> Log:
    """``truth.jsonl``, one ``RecorderRow`` per line; SourceError where it is not that."""
    try:
        return _checked(_of_rows(_recorder_rows(path)))
    except (ValueError, OSError) as error:
        raise _refusal(path, error) from error


def read_samples(path: Path, time_s: np.ndarray) -> Log:
    """``samples.parquet``, read at the video's frames; SourceError where it is not that.

    time_s: (T,) the frames' presentation times, on the clock of the samples. The file follows
    ``SAMPLES_SCHEMA`` or ``INPUT_REC_SCHEMA``. A frame takes the nearest sample, the earlier of two that are
    equally near; one without a sample within half a second is unknown.
    """
    try:
        names = pq.read_schema(path).names
        if "time" in names and "timestamp_us" not in names:
            table = _rename_input_rec(_read_parquet(path, INPUT_REC_SCHEMA))
        else:
            table = _read_parquet(path, SAMPLES_SCHEMA)
        _require_increasing(table, "timestamp_us")
        stamps_s = table["timestamp_us"].to_numpy() / 1e6
        samples = _checked(_of_columns(table, np.arange(len(table)), stamps_s))
        nearest = nearest_rows(stamps_s, time_s)
        if not (nearest >= 0).any():
            raise ValueError("expected samples on the video's clock, found none within half a second of any frame")
    except (ValueError, OSError) as error:
        raise _refusal(path, error) from error
    return samples.spread(nearest, np.arange(len(time_s)), time_s)


def nearest_rows(stamps_s: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """For each time the row of the nearest stamp, -1 where none lies within half a second: (T,) int64.

    stamps_s: (N,) increasing, at least one.

    >>> nearest_rows(np.array([0.0, 0.25]), np.array([0.125, 0.2, 9.0])).tolist()
    [0, 1, -1]
    """
    after = np.searchsorted(stamps_s, time_s).clip(max=len(stamps_s) - 1)
    before = (after - 1).clip(min=0)
    row = np.where(np.abs(time_s - stamps_s[before]) <= np.abs(stamps_s[after] - time_s), before, after)
    return np.where(np.abs(stamps_s[row] - time_s) <= NEAREST_WITHIN_S, row, -1)


def _recorder_rows(path: Path) -> Iterator[RecorderRow]:
    """The lines of a recorder, checked one by one; ValueError names the first that is wrong."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"expected at most {MAX_FILE_BYTES} bytes, found {path.stat().st_size}")
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"expected lines of at most {MAX_LINE_BYTES} bytes, found a longer line {number}")
            if not line.strip():
                continue
            try:
                yield RecorderRow.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                message = first["msg"].removeprefix("Value error, ")
                raise ValueError(f"line {number}: {where + ': ' if where else ''}{message}") from error


def _of_rows(rows: Iterable[RecorderRow]) -> Log:
    """A recorder's lines as a log."""
    frame_index, time_s, values = array("q"), array("d"), array("d")
    for row in rows:
        if time_s and (row.timestamp <= time_s[-1] or row.frame_id <= frame_index[-1]):
            raise ValueError(
                f"expected frame_id and timestamp to increase, found frame {row.frame_id} at {row.timestamp:g} s "
                f"after frame {frame_index[-1]} at {time_s[-1]:g} s"
            )
        frame_index.append(row.frame_id)
        time_s.append(row.timestamp)
        values.extend([*row.pressure(), *row.j_left, *row.j_right])
    table = np.array(values).reshape(-1, len(BUTTONS) + 4)
    pressure, sticks = table[:, : len(BUTTONS)], table[:, len(BUTTONS) :]
    return Log(
        np.array(frame_index, np.int64),
        np.array(time_s),
        pressure >= TRIGGER_PRESSED_FROM,  # NaN compares false
        np.concatenate([~np.isnan(pressure), np.ones((len(table), len(STICKS)), bool)], axis=1),
        sticks.reshape(-1, 2, 2),
        pressure[:, [BUTTON_INDEX[name] for name in TRIGGERS]],
        np.full(len(table), np.nan),
    )


def _rename_input_rec(table: pa.Table) -> pa.Table:
    """input-rec's columns as ``SAMPLES_SCHEMA`` has them; a trigger is held from half its travel."""

    def axis(name: str) -> np.ndarray:
        return np.asarray((_floats(table[name]) / SDL_AXIS_MAX).clip(-1, 1), np.float32)

    columns: dict[str, pa.Array | pa.ChunkedArray] = {"timestamp_us": table["time"]}
    columns |= {name: table[column] for name, column in INPUT_REC_BUTTONS.items()}
    columns |= {name: pa.array(axis(name.upper()) >= TRIGGER_PRESSED_FROM) for name in TRIGGERS}
    for name, pair in INPUT_REC_AXES.items():
        places = np.stack([axis(column) for column in pair], axis=1)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(places.reshape(-1)), 2).cast(pa.list_(pa.float32()))
    columns |= {f"{name}_value": pa.array(axis(name.upper())) for name in TRIGGERS}
    return pa.table({name: columns[name] for name in SAMPLES_SCHEMA.names}, schema=SAMPLES_SCHEMA)


def _of_columns(table: pa.Table, frame_index: np.ndarray, time_s: np.ndarray) -> Log:
    """The controls of a table; null is unknown."""
    sticks = [[_floats(pc.list_element(table[name], axis)) for axis in range(2)] for name in STICKS]
    absent = np.full(len(table), np.nan)
    travel = [_floats(table[name]) if name in table.column_names else absent for name in OPTIONAL]
    return Log(
        frame_index,
        time_s,
        np.stack([pc.fill_null(table[name], False).to_numpy() for name in BUTTONS], axis=1),
        np.stack([pc.is_valid(table[name]).to_numpy() for name in CONTROLS], axis=1),
        np.moveaxis(np.array(sticks), -1, 0),
        np.stack(travel, axis=1),
        _floats(table["confidence"]) if "confidence" in table.column_names else absent,
    )


def _read_parquet(path: Path, schema: pa.Schema) -> pa.Table:
    """A table with the columns of ``schema``, of the same kinds; ValueError where it has not."""
    table = pq.read_table(path)
    _require_columns(table, [name for name in schema.names if name not in OPTIONAL])
    for field in schema:
        if field.name in table.column_names and not _is_like(found := table.schema.field(field.name).type, field.type):
            raise ValueError(f"expected {field.name} to be {field.type}, found {found}")
    if not len(table):
        raise ValueError("expected at least one row, found none")
    for name in STICKS:
        if name in schema.names and not pc.all(pc.equal(pc.list_value_length(table[name]), 2)).as_py():
            raise ValueError(f"expected {name} to hold x and y in every row, found another length")
    return table.select([name for name in schema.names if name in table.column_names])


def _is_like(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether a column holds what is expected, whatever its width."""
    kind = pa.types
    if kind.is_boolean(expected):
        return bool(kind.is_boolean(found))
    if kind.is_integer(expected):
        return bool(kind.is_integer(found))
    if kind.is_floating(expected):
        return bool(kind.is_floating(found))
    is_list = kind.is_list(found) or kind.is_fixed_size_list(found) or kind.is_large_list(found)
    return bool(is_list and kind.is_floating(found.value_type))


def _require_columns(table: pa.Table, names: Iterable[str]) -> None:
    if missing := [name for name in names if name not in table.column_names]:
        raise ValueError(f"expected a column for every control and its time, found none for {', '.join(missing)}")


def _require_increasing(table: pa.Table, name: str) -> None:
    stamps = _floats(table[name])
    if not np.isfinite(stamps).all() or not (np.diff(stamps) > 0).all():
        raise ValueError(f"expected {name} to increase from row to row, found a repeat, a step back or a gap")


def _checked(log: Log) -> Log:
    """The log itself, if it has rows and every known value lies in its range; else ValueError."""
    if not len(log):
        raise ValueError("expected at least one row, found none")
    for i, name in enumerate(STICKS):
        values = log.sticks[log.known[:, len(BUTTONS) + i], i]
        if not np.isfinite(values).all() or (np.abs(values) > 1).any():
            worst = values[~(np.abs(values) <= 1)][0]
            raise ValueError(f"expected {name} in -1..1, found {worst:g}")
    if (bad := log.triggers[(log.triggers < 0) | (log.triggers > 1)]).size:
        raise ValueError(f"expected the travel of triggers in 0..1, found {bad[0]:g}")
    return log


def _refusal(path: Path, error: Exception) -> SourceError:
    said = " ".join(str(error).split())  # libraries say it in several lines
    return SourceError(f"{path} is not a controller log: {said}; correct it or record it again")


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """A column as floats with NaN for null."""
    return np.asarray(column.to_numpy(), np.float64)
