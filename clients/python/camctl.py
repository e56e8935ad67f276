"""The command `camctl`, also as `python -m camctl`."""

import os
import sys


def main() -> None:
    """Run the command line; without its libraries, say how to get them."""
    # What gRPC itself writes on stderr means nothing to people. It reads this when it is imported,
    # which `camsvc_client` does: hence a module outside of it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import rich  # noqa: F401, PLC0415 - is it there?
        import typer  # noqa: F401, PLC0415
    except ImportError:
        sys.exit("camctl needs more packages: pip install 'camsvc-client[cli]'")
    try:
        from camsvc_client.camctl.app import app  # noqa: PLC0415

        app(prog_name="camctl")
    except KeyboardInterrupt:  # before a command had begun
        sys.exit(130)


if __name__ == "__main__":
    main()
