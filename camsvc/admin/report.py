"""What an operator's command prints: our words with Rich's markup, and texts of others in them."""

from rich.console import Console
from rich.text import Text

from camsvc.model.printable import printable
from camsvc.model.redaction import redacted

_PLACE = "\ufffc"
"""Stands for a text where the markup is read: what `escape` makes of one has a backslash too many
where the text ends with one."""


class Report:
    """Prints lines. What comes from a camera, a library or a file is text, without secrets."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def line(self, form: str, *texts: object) -> None:
        """Print a line, which has markup and a `{}` for each text."""
        line = Text()
        parts = Text.from_markup(form.replace("{}", _PLACE)).split(_PLACE, include_separator=True)
        others = iter(texts)
        for part in parts:
            if part.plain.endswith(_PLACE):
                place = part[-1]
                part.right_crop(1)
                line.append_text(part)
                text = printable(redacted(str(next(others))))
                line.append(text, place.spans[0].style if place.spans else None)
            else:
                line.append_text(part)
        self._out.print(line, highlight=False, soft_wrap=True)
