"""What an operator's command prints: our words with Rich's markup, and texts of others in them."""

from rich.console import Console
from rich.markup import escape

from camsvc.model.printable import printable
from camsvc.model.redaction import redacted


class Report:
    """Prints lines. What comes from a camera, a library or a file is text, without secrets."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def line(self, form: str, *texts: object) -> None:
        """Print a line, which has markup and a `{}` for each text."""
        escaped = [escape(printable(redacted(str(text)))) for text in texts]
        self._out.print(form.format(*escaped), highlight=False, soft_wrap=True)
