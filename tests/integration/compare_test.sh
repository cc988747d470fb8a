#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The comparison that everything else relies on must be able to fail: each kind of damage is done to a perfect copy, and
# tools/dev/compare has to see it.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

"$top/tools/dev/fixture" "$work/a" --small

copy() {
  rm -rf "$work/b"
  # Without the window rsync leaves a time that is off by less than a second.
  rsync -aHAXS --modify-window=-1 "$work/a/" "$work/b/"
}
sees() {  # NAME COMMAND...: the damage done by COMMAND in the copy is seen
  local name=$1
  shift
  copy
  (cd "$work/b" && "$@")
  if "$top/tools/dev/compare" "$work/a" "$work/b" > "$work/out"; then fail "$name was not seen"; fi
  echo "seen: $name"
}
keep_times() {  # FILE COMMAND...: without leaving a trace in the mtime
  local file=$1 reference="$work/reference"
  shift
  touch -r "$file" "$reference"
  "$@"
  touch -r "$reference" "$file"
}
flip_byte() { printf 'X' | dd of=sparse/file bs=1 seek=17 conv=notrunc status=none; }
split_link() { cp -p links/a/name-5 links/tmp && rm links/a/name-5 && mv links/tmp links/a/name-5; }
fill_hole() { cp --sparse=never sparse/file sparse/tmp && cat sparse/tmp > sparse/file && rm sparse/tmp; }

copy
"$top/tools/dev/compare" "$work/a" "$work/b" || fail "a perfect copy differs"
sees "one flipped byte, same size and time" keep_times sparse/file flip_byte
sees "one lost access ACL" setfacl -b acl/file
sees "one lost default ACL" setfacl -k acl/inherits
sees "one split hard link" keep_times links/a split_link
sees "a file that is no longer sparse" keep_times sparse/file fill_hole
sees "a lost xattr" setfattr -x user.binary xattrs/file
sees "a changed xattr" setfattr -n user.text -v other xattrs/file
sees "one nanosecond" touch -d '2001-02-03 04:05:06.123456788 UTC' times/nanoseconds
sees "a missing name" rm names/-rf
sees "an additional name" touch modes/extra
sees "another symlink target" ln -sfn elsewhere symlinks/dangling
sees "another owner of a symlink" chown -h 1:1 symlinks/relative
sees "another device" bash -c 'rm special/null && mknod special/null c 1 5'
sees "another mode" chmod 0001 modes/file-0000
echo "1 passed, 0 failed"
