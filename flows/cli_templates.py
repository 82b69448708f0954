"""``padtrace templates``: the overlays that padtrace knows, and more of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.arguments import check_family, parse_box, parse_moves, parse_states
from flows.options import AsJson, Debug, TemplatesDir
from flows.terminal import faults_told, out, print_json, wrong_usage

if TYPE_CHECKING:
    import numpy as np

templates_app = typer.Typer(help="The overlays that padtrace knows.", no_args_is_help=True)


class Program(StrEnum):
    INPUT_OVERLAY = "input-overlay"
    RETROSPY = "retrospy"
    VSCVIEW = "vscview"
    GAMEPADVIEWER = "gamepadviewer"
    OPEN_JOYSTICK_DISPLAY = "open-joystick-display"


@templates_app.command("list")
def list_templates(templates: TemplatesDir = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the overlays that padtrace knows."""
    with faults_told(debug):
        from templates.catalogue import all_templates

        scenes = [template.scene for template in all_templates(templates).values()]
        rows = [{"id": scene.id, "family": scene.family, "known": list(scene.known)} for scene in scenes]
        if as_json:
            print_json(rows)
        else:
            table = Table("family", "controls", "templates: FAMILY/...", title=f"{len(scenes)} templates")
            for family in dict.fromkeys(scene.family for scene in scenes):
                members = [scene for scene in scenes if scene.family == family]
                names = ", ".join(scene.id.removeprefix(f"{family}/") for scene in members)
                table.add_row(family, str(max(len(scene.known) for scene in members)), names)
            out.print(table)


@templates_app.command("show")
def show_template(
    template_id: Annotated[str, typer.Argument(metavar="ID", help="As `padtrace templates list` names it.")],
    state: Annotated[
        str, typer.Option(metavar="STATE", help="What is held: south,left_trigger=0.7,j_left=0.5:-1 (up is negative).")
    ] = "",
    png: Annotated[Path | None, typer.Option("-o", metavar="PNG", help="Draw it into this file.")] = None,
    width: Annotated[int, typer.Option(min=16, max=4096, help="Width of the drawing in pixels.")] = 512,
    templates: TemplatesDir = None,
    debug: Debug = False,
) -> None:
    """Describe one overlay; with -o, draw it in a state."""
    states = parse_states(state)
    with faults_told(debug):
        from templates.catalogue import all_templates

        known = all_templates(templates)
        if template_id not in known:
            raise wrong_usage(f"no template is called {template_id}; `padtrace templates list` names them")
        scene = known[template_id].scene
        if png is None:
            out.print(f"{scene.id}: family {scene.family}, canvas {scene.canvas[0]:g} x {scene.canvas[1]:g}")
            out.print(f"shows {', '.join(scene.known)}")
            for note in scene.notes:
                out.print(f"note: {note}", markup=False)
        else:
            from templates.draw import draw_rgba

            _write_png(png, draw_rgba(known[template_id], states, width))
            out.print(f"wrote {png}", markup=False)


@templates_app.command("sheet")
def templates_sheet(
    png: Annotated[Path, typer.Option("-o", metavar="PNG", help="Draw it into this file.")],
    state: Annotated[str, typer.Option(metavar="STATE", help="What is held; see `padtrace templates show`.")] = "",
    templates: TemplatesDir = None,
    debug: Debug = False,
) -> None:
    """Draw all overlays into one picture, by family."""
    states = parse_states(state)
    with faults_told(debug):
        import torch

        from templates.catalogue import all_templates
        from templates.sheet import contact_sheet

        torch.set_num_threads(1)  # hundreds of small pictures, for which threads only wait for each other
        _write_png(png, contact_sheet(all_templates(templates).values(), states=states))
        out.print(f"wrote {png}", markup=False)


@templates_app.command("import")
def import_templates(
    program: Annotated[Program, typer.Argument(metavar="PROGRAM", help=f"Its program: {', '.join(Program)}.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A skin's file or folder, or a folder of skins.")],
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the templates are written.")],
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which pad it shows; guessed from names where absent.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Import skins of another program as templates."""
    with faults_told(debug):
        from templates.catalogue import save_template
        from templates.importers import import_skins

        for skin in import_skins(program.value, path, family):
            folder = save_template(skin.scene, skin.pictures, out_dir)
            out.print(f"{skin.scene.id} ({skin.scene.family}) -> {folder}", markup=False)
            for note in skin.scene.notes:
                out.print(f"  note: {note}", markup=False)


@templates_app.command("from-video")
def template_from_video(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video that shows the overlay at work.")],
    box: Annotated[str, typer.Option(metavar="X,Y,W,H", help="Where the overlay is, in pixels.")],
    family: Annotated[str, typer.Option(metavar="NAME", help="Which pad it shows.")],
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the template is written.")],
    move: Annotated[
        str, typer.Option(metavar="MOVES", help="Shift fitted controls, pixels right and down: south=0:-4,j_left=2:1.")
    ] = "",
    debug: Debug = False,
) -> None:
    """Make a template of an overlay that no program's skin describes, from a video that shows it.

    Look at fitted.png beside the template: every box must lie on its control. Where one does not, run again
    with --move.
    """
    by_hand, moves = parse_box(box), parse_moves(move)
    with faults_told(debug):
        from extraction.adopt import adopt
        from extraction.layout import choose_layout, of_family
        from templates.catalogue import library, save_template

        check_family(family, library())
        layout = choose_layout(library().values(), family, by_hand[2:])
        adopted = adopt(video, by_hand, layout, moves, relatives=of_family(library().values(), family))
        folder = save_template(adopted.scene, adopted.pngs, out_dir)
        _write_png(folder / "fitted.png", adopted.fitted)
        out.print(f"{adopted.scene.id} ({family}) -> {folder}", markup=False)
        out.print(f"look at {folder / 'fitted.png'}: every box must lie on its control", markup=False)
        for note in adopted.scene.notes:
            out.print(f"  note: {note}", markup=False)


def _write_png(path: Path, picture: np.ndarray) -> None:
    """Write an (H, W, 3 or 4) uint8 picture, RGB or RGBA; OSError where that is not possible."""
    import cv2

    order = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    ok, data = cv2.imencode(".png", cv2.cvtColor(picture, order), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert ok, "a uint8 picture always encodes"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
