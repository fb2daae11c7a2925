#!/bin/sh
# Installs the libraries that the benchmarks compare with, in environments of their own: sh benchmarks/peers/install.sh
# (benchmarks/peers/.venv, .venv-forecast, and .venv-apex for RLlib's Ape-X). What does not install is said so in the tables.
set -u
here=$(cd "$(dirname "$0")" && pwd)

install() { # install VENV PACKAGES...: each argument one call of pip
    venv=$here/$1
    shift
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --upgrade pip
    for packages in "$@"; do
        # shellcheck disable=SC2086  # several packages in one string
        if "$venv/bin/pip" install --quiet $packages; then
            echo "installed: $packages"
        else
            echo "could not install: $packages" >&2
        fi
    done
}

# sh benchmarks/peers/install.sh forecast: only what the benchmarks of forecasts compare with.
install .venv-forecast "torch==2.13.0" "neuralforecast==3.3.0 darts==0.48.1" "statsforecast==2.1.1"
[ "${1:-all}" = forecast ] && exit 0

install .venv "torch==2.13.0" "ray[rllib]==2.60.0 ale-py opencv-python-headless" "envpool" "cpprb" "torchrl"
# Ray 2.8 is the last with Ape-X; what it depends on must be of its time.
install .venv-apex "torch==2.13.0" \
    "ray[rllib]==2.8.1 numpy<2 pydantic<2 setuptools<81 pyarrow<19 pandas<2.3 scipy<1.14 scikit-image<0.25 ale-py opencv-python-headless<4.11"

# WaveNets of others, as they are.
for repository in vincentherrmann/pytorch-wavenet r9y9/wavenet_vocoder; do
    [ -d "$here/${repository#*/}" ] || git clone --quiet --depth 1 "https://github.com/$repository" "$here/${repository#*/}" ||
        echo "could not clone: $repository" >&2
done
