#!/usr/bin/env bash
# hatchling 1.27.0: a folder that is excluded by the path of a link takes the real folder with it, without a word.
#
# A source tree has `rooms/` and a link `app/rooms -> ../rooms`. Excluding `/app/rooms` from the build should leave the
# link out. But hatchling follows links and walks each folder (by inode) once, under the name it meets first, here the
# link's (`app` sorts before `rooms`), and looks at `exclude` only file by file after it has gone in: so the source
# distribution holds neither `app/rooms` nor `rooms`, the build succeeds, and nothing is said. `skip-excluded-dirs =
# true` keeps it from walking in, and the real folder is packed.
#
# Seen: as above. Source: hatchling's own `builders/utils.py` (safe_walk) and `builders/plugin/interface.py`.
# Fovea's pyproject.toml sets `skip-excluded-dirs`; tests/project/test_wheel.py compares what the distributions hold.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check "hatchling==1.27.0" "build==1.2.2.post1" 2>/dev/null

tree() {  # tree NAME EXTRA-LINE: a project with a link to one of its own folders; prints what its sdist holds of `rooms`
  mkdir -p "$work/$1/app" "$work/$1/rooms"
  touch "$work/$1/app/__init__.py" "$work/$1/rooms/kitchen.py"
  ln -s ../rooms "$work/$1/app/rooms"
  printf '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "app"\nversion = "1"\n[tool.hatch.build]\nexclude = ["/app/rooms"]\n%s\n' "$2" > "$work/$1/pyproject.toml"
  (cd "$work/$1" && "$work/venv/bin/python" -m build --no-isolation --sdist -o "$work/$1-dist" . >"$work/log" 2>&1) || { cat "$work/log" >&2; exit 1; }
  tar tzf "$work/$1-dist/app-1.tar.gz" | grep -c 'rooms/kitchen.py' || true
}

"$work/venv/bin/python" -c 'import importlib.metadata as m; print("hatchling", m.version("hatchling"))'
lost=$(tree lost "")
kept=$(tree kept "skip-excluded-dirs = true")
echo "files of rooms/ in the sdist: $lost with exclude alone, $kept with skip-excluded-dirs"
[ "$lost" = 0 ] && [ "$kept" = 1 ] || { echo "this has changed"; exit 1; }
