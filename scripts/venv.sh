#!/usr/bin/env bash
# Make a virtual environment where there is none. Debian and Ubuntu keep the module for it in a
# package of its own, which root gets here and anybody else is told of.
set -eu
folder=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "camsvc needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Use: make PYTHON=python3.12 ..." >&2
    exit 1
}
[ -x "$folder/bin/pip" ] && exit 0
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
    else
        echo "Python's venv module is missing. Do: sudo apt-get install $package" >&2
        exit 1
    fi
fi
"$python" -m venv "$folder"
