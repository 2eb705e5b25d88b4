"""A picture: what it shows in words, how it is drawn, and the bytes of its file."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from atlasbench.core.compat import StrEnum
from atlasbench.report.figures.theme import LIGHT, Theme, use_theme

_PNG_DPI = 200


class FileFormat(StrEnum):
    """What a picture can be written as."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that can be drawn in any theme.

    Attributes:
        name: Stem of its file.
        title: A few words.
        caption: What is shown and what to read from it, in a sentence or two; also for those who cannot see it.
        draw: Draws it; called inside `use_theme`.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


def render_picture(picture: Picture, file_format: str, theme: Theme = LIGHT) -> bytes:
    """The file of a picture; the same picture gives the same bytes.

    Args:
        picture: What to draw.
        file_format: `png` (200 dots an inch), `svg` (text as text, nothing outside the file) or `pdf`.
        theme: Colours and width.
    """
    wanted = FileFormat(file_format)
    stream = io.BytesIO()
    with use_theme(theme), warnings.catch_warnings():
        # A user's model may be named in letters that the font lacks: SVG keeps them, the others show boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = picture.draw(theme)
        if wanted is FileFormat.PNG:
            # Without "Software": None the file would change with matplotlib's version.
            FigureCanvasAgg(figure).print_figure(
                stream, dpi=_PNG_DPI, metadata={"Software": None, "Title": picture.title}
            )
        elif wanted is FileFormat.PDF:
            FigureCanvasPdf(figure).print_figure(stream, metadata={"CreationDate": None, "Title": picture.title})
        else:
            FigureCanvasSVG(figure).print_figure(stream, metadata={"Date": None, "Title": picture.title})
    content = stream.getvalue()
    return _close_svg(content) if wanted is FileFormat.SVG else content


def _close_svg(content: bytes) -> bytes:
    """Without the document type and the metadata, which name addresses outside the file, and what XML forbids."""
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", content.decode())
    text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", text, count=1)
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL).encode()
