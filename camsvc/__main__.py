"""`python -m camsvc` is the command `camsvc`."""

from camsvc.cli import app

if __name__ == "__main__":
    app(prog_name="camsvc")
