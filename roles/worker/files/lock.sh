#!/bin/sh
# Makes the two lock files anew, at the versions of constraints.txt. Run it in the project's folder.
set -eu
uv=${UV:-.venv/bin/uv}
folder=roles/worker/files
for name in requirements requirements-satellite; do
  {
    echo "# Pinned and hashed, from $name.in and constraints.txt. Made by: $folder/lock.sh"
    "$uv" pip compile --quiet "$folder/$name.in" --constraints constraints.txt --universal --python-version 3.11 \
      --generate-hashes --no-header --no-annotate --no-emit-index-url
  } > "$folder/$name.txt.new"
  mv "$folder/$name.txt.new" "$folder/$name.txt"
done
