"""apt in a folder of its own: its lists, packages and settings are there and nowhere else.

That needs no root, changes nothing of the machine, and works the same on a fresh one: what the
machine's apt has fetched before is not used.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from tests.rigs.running import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Apt:
    """Debian packages, from the machine's own sources or from those given.

    With sources of their own, nothing counts as installed; else what is installed here does.
    """

    def __init__(self, folder: Path, sources: Iterable[str] | None = None) -> None:
        """Fetch the lists into `folder`.

        Raises:
            RigMissing: they could not be fetched.
        """
        self._archives = folder / "archives"
        for part in (folder / "lists" / "partial", self._archives / "partial"):
            part.mkdir(parents=True, exist_ok=True)
        lines = [
            f'Dir::State::lists "{folder}/lists"; Dir::Cache "{folder}";',
            'APT::Install-Recommends "false"; APT::Sandbox::User ""; Acquire::Languages "none";',
        ]
        if sources is not None:
            (folder / "status").touch()
            (folder / "sources.list").write_text("".join(f"{line}\n" for line in sources))
            lines += [
                f'Dir::State "{folder}"; Dir::State::status "{folder}/status";',
                f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "/dev/null";',
                'Dir::Etc::preferencesparts "/dev/null"; Dir::Etc::preferences "/dev/null";',
            ]
        (folder / "apt.conf").write_text("\n".join([*lines, ""]))
        self._env = {"APT_CONFIG": str(folder / "apt.conf")}
        strict = () if sources is None else ("--error-on=any",)  # the machine's may be stale
        run("apt-get", "update", "-qq", *strict, env=self._env)

    def ask(self, command: str, *arguments: str) -> str:
        """Return what a command of apt prints that changes nothing."""
        return run(command, *arguments, env=self._env)

    def fetch(self, *packages: str) -> None:
        """Fetch packages without what they depend on."""
        run("apt-get", "download", "-qq", *packages, env=self._env, cwd=self._archives)

    def fetch_whole(self, *packages: str, release: str = "") -> None:
        """Fetch packages with what they depend on; those of `release` come from there."""
        options = ("--target-release", release) if release else ()
        download = ("apt-get", "install", "--download-only", "--yes", "-qq", *options)
        run(*download, *packages, env=self._env)

    def unpack(self, root: Path) -> None:
        """Unpack what was fetched into a folder."""
        root.mkdir(exist_ok=True)
        for package in sorted(self._archives.glob("*.deb")):
            run("dpkg-deb", "--extract", package, root)


def mirror(folder: Path) -> str | None:
    """Return where this machine gets Debian's packages from, if anywhere; or DEBIAN_MIRROR."""
    if asked := os.environ.get("DEBIAN_MIRROR"):
        return asked
    known = Apt(folder).ask("apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(SITE)")
    debian = [line.split() for line in known.splitlines() if line.startswith("Debian ")]
    return next((site for _, release, site in debian if "security" not in release), None)
