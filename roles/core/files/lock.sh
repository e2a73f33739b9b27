#!/bin/sh
# Makes the lock files anew, at the versions of constraints.txt. Run it in the project's folder.
set -eu
uv=${UV:-.venv/bin/uv}
folder=roles/core/files
compile() {
  "$uv" pip compile --quiet "$@" --constraints constraints.txt --universal --python-version 3.11 \
    --generate-hashes --no-header --no-annotate --no-emit-index-url
}
{
  echo "# Pinned and hashed: all that maw needs on the core. Made by: $folder/lock.sh"
  compile pyproject.toml --extra weights
} > "$folder/requirements.txt.new"
mv "$folder/requirements.txt.new" "$folder/requirements.txt"
{
  echo "# Pinned and hashed, from requirements-oracle.in. Made by: $folder/lock.sh"
  compile "$folder/requirements-oracle.in"
} > "$folder/requirements-oracle.txt.new"
mv "$folder/requirements-oracle.txt.new" "$folder/requirements-oracle.txt"
