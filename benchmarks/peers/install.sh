#!/bin/sh
# Installs the libraries that the benchmarks compare with, in an environment of their own: sh benchmarks/peers/install.sh [DIR]
# What does not install is said so in the tables. Default folder: benchmarks/peers/.venv.
set -u
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/.venv}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --upgrade pip
for packages in "torch==2.13.0" "ray[rllib]==2.60.0 ale-py opencv-python-headless" "envpool" "cpprb" "torchrl"; do
    # shellcheck disable=SC2086  # several packages in one string
    if "$venv/bin/pip" install --quiet $packages; then
        echo "installed: $packages"
    else
        echo "could not install: $packages" >&2
    fi
done
