#!/bin/sh
# Make requirements.lock anew: every third-party package of every member, pinned with hashes,
# without download addresses. uv.lock, which holds addresses, stays out of the repository.
set -eu
cd "$(dirname "$0")/.."
uv lock --upgrade --quiet
uv export --quiet --frozen --all-packages --all-extras --all-groups --no-emit-workspace \
    --no-annotate --no-header --format requirements-txt --output-file requirements.lock >/dev/null
rm -f uv.lock
