"""The consoles of the command line: they print any text safely, and a pipe gets whole lines."""

import os
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console, ConsoleDimensions
from rich.segment import Segment

from pointsman_producer.files.tables import printable

# Programs read a pipe line by line: nothing is broken there to fit a width.
PIPE: Final = ConsoleDimensions(10_000, 25)


class Terminal(Console):
    """Prints what any command prints, without characters by which a text could act on the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(
            stderr=stderr,
            highlight=False,
            soft_wrap=True,
            emoji=False,
            # It stands for all styles.
            color_system=None if os.environ.get("NO_COLOR") else "auto",
        )

    @property  # type: ignore[misc]  # nothing sets it
    def size(self) -> ConsoleDimensions:
        """Return the size of the terminal; `COLUMNS` sets the width of a pipe, too."""
        return super().size if self.is_terminal else PIPE

    def render(self, *args: Any, **kwargs: Any) -> Iterator[Segment]:  # noqa: ANN401  rich's signature
        """Render anything, and make its text printable; rich's own control codes are apart from it."""
        for segment in super().render(*args, **kwargs):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(text, segment.style)
