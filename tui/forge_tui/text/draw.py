"""Blocks as lines of a screen, in the colours of the theme."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import CodeBlock, Heading, Markdown
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme
from textual.color import Color, ColorParseError
from textual.strip import Strip

from forge_tui.text.blocks import Block
from forge_tui.text.shown import shown

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderResult


class _Heading(Heading):
    """At the left, as in the text."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Code(CodeBlock):
    """Code inside of a list or a quotation."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Syntax(
            str(self.text).rstrip(),
            self.lexer_name,
            theme=self.theme,
            word_wrap=True,
            background_color="default",
        )


class _Markdown(Markdown):
    elements = {  # noqa: RUF012  # the base class declares it so
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
    }


class Pen:
    """Draws blocks; owns the colours, taken from the variables of a Textual theme."""

    def __init__(self, variables: Mapping[str, str], *, dark: bool) -> None:
        self._variables = variables
        self._code_theme = "monokai" if dark else "friendly"
        self.accent = self._style("text-primary", "primary", bold=True)
        self.muted = self._style("foreground") + Style(dim=True)
        self.error = self._style("text-error", "error")
        self.warning = self._style("text-warning", "warning")
        heading = self._style("text-secondary", "secondary", bold=True)
        code = self._style("text-accent", "accent")
        names = {f"markdown.h{level}": heading for level in range(1, 7)}
        names |= {
            "markdown.code": code,
            "markdown.link": self._style("text-primary", "primary", underline=True),
            "markdown.link_url": self._style("text-primary", "primary", underline=True),
            "markdown.item.bullet": self.accent,
            "markdown.item.number": self.accent,
            "markdown.block_quote": self.muted,
            "markdown.hr": self.muted,
        }
        self._code_style = self._background("surface")
        self._console = Console(
            file=io.StringIO(),
            width=80,
            color_system="truecolor",
            force_terminal=True,
            legacy_windows=False,
            theme=Theme(names),
        )

    def lines(self, block: Block, width: int) -> list[Strip]:
        """A block in so many columns; no empty line follows it."""
        if block.kind == "code":
            return self._code(block, width)
        if block.kind == "text":
            return self._rendered(Text(shown(block.source), overflow="fold"), width)
        markdown = _Markdown(shown(block.source), code_theme=self._code_theme)
        found = self._rendered(markdown, width)
        while found and not found[-1].text.strip():
            found.pop()
        while found and not found[0].text.strip():
            found.pop(0)
        return found

    def line(self, text: str, style: Style, width: int) -> list[Strip]:
        """A text of one style."""
        return self._rendered(Text(shown(text), style=style, overflow="fold"), width)

    def _code(self, block: Block, width: int) -> list[Strip]:
        code = Syntax(
            shown(block.source),
            block.language or "text",
            theme=self._code_theme,
            word_wrap=True,
            background_color="default",
        )
        rows = self._rendered(code, max(1, width - 2))
        if block.first:
            name = shown(block.language) or "code"
            label = Text(f"{name}  ⧉ copy", style=self.muted, justify="right", overflow="ellipsis")
            label.no_wrap = True
            rows = [*self._rendered(label, max(1, width - 2)), *rows]
        side = Segment(" ", self._code_style)
        return [
            Strip([side, *strip.extend_cell_length(width - 2), side], width).apply_style(
                self._code_style
            )
            for strip in rows
        ]

    def _rendered(self, what: Text | Syntax | Markdown, width: int) -> list[Strip]:
        options = self._console.options.update(width=width, height=None)
        rows = self._console.render_lines(what, options, pad=False, new_lines=False)
        return [Strip(row) for row in rows]

    def _style(self, *names: str, bold: bool | None = None, underline: bool | None = None) -> Style:
        colour = self._colour(*names)
        return Style(color=colour and colour.rich_color, bold=bold, underline=underline)

    def _background(self, name: str) -> Style:
        colour = self._colour(name)
        return Style(bgcolor=colour and colour.rich_color)

    def _colour(self, *names: str) -> Color | None:
        """The first of these variables that is a colour; one may be "auto 87%"."""
        for name in names:
            try:
                return Color.parse(self._variables[name])
            except (KeyError, ColorParseError):
                continue
        return None
