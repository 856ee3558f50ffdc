#!/usr/bin/env bash
# Pandoc 3.9: its RTF reader deletes the letter that follows a character written as `\u8217?`, without a warning.
#
# RTF writes a character beyond its code page as `\uN` and one stand-in for old readers, by convention a question mark:
# `don\u8217?t`. Pandoc's reader takes away the stand-in and one letter more (not where a space ends the number, as in
# `\u8217 ?t`). So "don't" with a typographic apostrophe becomes "don'", and an em dash eats the letter behind it.
# Pandoc's own RTF writer writes that form: text sent through writer and reader loses letters.
# With the stand-in written as a byte (`\u8217\'3f`), which RTF allows as well, nothing is lost.
#
# Seen: as above, with exit code 0 and nothing on standard error. The maintainers closed a report of it in 2022
# (jgm/pandoc issue 8264); the release of pypandoc-binary that is current in November 2026 still does it.
# Fovea's loader `pandoc` writes each stand-in as a byte first (pipelines/loaders/pandoc_tree/rtf.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check "pypandoc-binary==1.17" 2>/dev/null
pandoc=$("$work/venv/bin/python" -c 'import pypandoc; print(pypandoc.get_pandoc_path())')
"$pandoc" --version | head -1

read_rtf() { "$pandoc" --sandbox -f rtf -t plain 2>"$work/said"; }
mark=$(printf '{\\rtf1\\ansi\\ansicpg1252 don\\u8217?t stop\\par}' | read_rtf)
byte=$(printf "{\\\\rtf1\\\\ansi\\\\ansicpg1252 don\\\\u8217\\\\'3ft stop\\\\par}" | read_rtf)
round=$(printf 'x—yes, it’s' | "$pandoc" -f markdown -t rtf -s | read_rtf)
echo "stand-in as a question mark: $mark"
echo "stand-in as a byte:          $byte"
echo "x—yes, it’s, through Pandoc's own RTF and back: $round"
echo "warnings: $(wc -c < "$work/said") bytes"
[ "$mark" = "don’ stop" ] && [ "$byte" = "don’t stop" ] && [ "$round" = "x—es, it’" ] && [ ! -s "$work/said" ] || { echo "this has changed"; exit 1; }
