"""Compare the contract with an earlier state of it: python scripts/buf_breaking.py [GIT_REF].

Exit 0 if nothing breaks users of the earlier state, or if it has no contract; else list what breaks
and exit with buf's code. Without a GIT_REF the base is origin/main, or main where there is no such
remote branch; where there is neither (a first commit, a shallow clone) nothing is compared.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def commit_of(ref: str) -> str | None:
    """Give the commit a ref stands for; None if there is none."""
    command = ("git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def has_contract(commit: str) -> bool:
    """Say whether this commit has a buf module in protos/."""
    command = ("git", "-C", str(ROOT), "cat-file", "-e", f"{commit}:protos/buf.yaml")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Find the base, and compare."""
    refs = sys.argv[1:] or ["origin/main", "main"]
    base = next((commit for commit in map(commit_of, refs) if commit), None)
    if base is None and len(sys.argv) > 1:
        sys.exit(f"buf breaking: no commit {sys.argv[1]!r} in {ROOT.name}")
    if base is None or not has_contract(base):
        print(f"buf breaking: no contract to compare with at {' or '.join(refs)}")
        return
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    if buf is None:
        sys.exit(f"buf breaking: buf not found next to {sys.executable} (buf-bin)")
    against = f".git#ref={base},subdir=protos"
    command = (buf, "breaking", "protos", "--against", against)
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
