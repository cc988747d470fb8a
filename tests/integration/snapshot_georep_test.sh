#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A restore while a geo-replication session exists: the secondary follows a primary that goes back, whether it had seen what
# is undone or not, and when it goes forth again. A secondary's snapshot is the primary's content.
#   POLDER_BIN: directory of polderd, polder, mount.polder
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
export POLDER_BIN=${POLDER_BIN:-$top/build/dev/bin}
cluster=$top/tools/dev/cluster
east=se$((RANDOM % 100000)) west=sw$((RANDOM % 100000))
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-snapshot-georep.XXXXXX")

cleanup() {
  status=$?
  for site in $east $west; do
    if [ $status -ne 0 ]; then tail -n 40 "$($cluster dir $site)/polderd.log" | sed "s/^/  $site: /" >&2 || true; fi
  done
  grep -oE " $work[^ ]* " /proc/mounts | tr -d ' ' | sort -r | xargs -r -n1 umount -l || true
  $cluster down $east || true
  $cluster down $west || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "snapshot_georep_test: $*" >&2; exit 1; }
on() { local site=$1; shift; $cluster exec "$site" -- polder "$@"; }
georep() { on $east volume geo-replication data "$secondary" "$@" > "$work/georep" 2>&1 || fail "$*: $(cat "$work/georep")"; }

for site in $east $west; do
  $cluster up $site --fs btrfs --size 1G
  on $site volume create data "$($cluster address $site):$($cluster dir $site)/brick/data" > /dev/null
  on $site volume start data > /dev/null
done
secondary=$($cluster address $west)::data
on $west cluster token --role site --volume data > "$work/token" 2> /dev/null
georep create --token-file "$work/token"
georep start
$cluster mount $east data "$work/east"
$cluster mount $west data "$work/west" ro

fill() {
  mkdir -p "$work/east/tree/a/b" "$work/east/gone"
  for i in $(seq 40); do seq "$i" 3000 > "$work/east/tree/file$i"; done
  head -c 3M /dev/urandom > "$work/east/tree/a/bulk"
  ln "$work/east/tree/file1" "$work/east/tree/a/second-name"
  ln -s ../file2 "$work/east/tree/a/symlink"
  echo old > "$work/east/gone/old"
  echo one > "$work/east/swap"
}
# What a restore has to undo: new and lost names, content, attributes, renames over others, directories.
damage() {
  local i
  for i in $(seq 1 10); do rm -f "$work/east/tree/file$i"; done
  for i in $(seq 11 20); do echo "damaged $1" > "$work/east/tree/file$i"; done
  mv "$work/east/tree/a" "$work/east/moved"
  rm -rf "$work/east/gone"
  mkdir "$work/east/gone" && echo "$1" > "$work/east/gone/new"
  printf '%s' "$1" | dd of="$work/east/moved/bulk" bs=1 seek=1000000 conv=notrunc status=none
  chmod 600 "$work/east/tree/file21"
  setfattr -n user.note -v "$1" "$work/east/tree/file22"
  echo two > "$work/east/swap.new" && mv "$work/east/swap.new" "$work/east/swap"
  mkdir "$work/east/only-$1" && head -c 100K /dev/urandom > "$work/east/only-$1/file"
}
same() {  # WHAT: both sites, when the secondary has everything
  timeout 60 $cluster exec $east -- polder volume geo-replication data "$secondary" checkpoint now > "$work/georep" 2>&1 ||
    fail "$1: no checkpoint: $(cat "$work/georep"); $(on $east volume geo-replication data "$secondary" status)"
  "$top/tools/dev/compare" "$work/east" "$work/west" || fail "$1: the sites differ"
  on $east volume geo-replication data "$secondary" verify > "$work/verify" || fail "$1: $(cat "$work/verify")"
}
restore() {  # SITE SNAPSHOT
  on "$1" volume stop data > /dev/null
  on "$1" --yes snapshot restore "$2" > "$work/restored" || fail "restore $2: $(cat "$work/restored")"
  on "$1" volume start data > /dev/null
}
restored() {  # WHAT: east is as it was when the snapshot was made
  for _ in $(seq 50); do [ -e "$work/east/swap.new" ] || [ "$(cat "$work/east/swap")" = two ] || break; sleep 0.1; done
  (cd "$work/east" && find . -printf '%P %y %m %s %l\n' | sort) > "$work/now"
  diff "$work/then" "$work/now" > "$work/diff" || fail "$1: east is not as it was: $(head -5 "$work/diff")"
}

fill
same "first sync"
snapshot=$(on $east snapshot create base data no-timestamp)
(cd "$work/east" && find . -printf '%P %y %m %s %l\n' | sort) > "$work/then"

damage seen
same "what will be undone"
restore $east "$snapshot"
restored "restore of what the secondary had seen"
same "restore of what the secondary had seen"

georep pause
damage unseen
restore $east "$snapshot"
echo later > "$work/east/later"
georep resume
same "restore of what the secondary had not seen"
rm "$work/east/later"
restored "restore of what the secondary had not seen"

damage forth
kept=$(on $east snapshot create kept data no-timestamp)
restore $east "$snapshot"
restore $east "$kept"
same "back and forth"

# The connection ends in the middle of what a restore makes the primary send.
georep pause
restore $east "$snapshot"
$cluster stop $west 1
POLDER_CRASH_POINT=georep/within-spool:12 $cluster start $west 1
georep resume
for _ in $(seq 100); do $cluster list | grep -q "^$west node 1 .* running" || break; sleep 0.1; done
$cluster list | grep -q "^$west node 1 .* running" && fail "the secondary was not killed"
$cluster start $west 1
same "a restore that was shipped in two parts"
restored "a restore that was shipped in two parts"

# A secondary that is restored follows its primary from there.
far=$(on $west snapshot create far data no-timestamp)
on $west snapshot activate "$far" > /dev/null
$cluster mount $west "$far" "$work/far"
"$top/tools/dev/compare" "$work/east" "$work/far" || fail "the snapshot of the secondary is not the primary's content"
on $west volume stop data > /dev/null
on $west --yes snapshot restore "$far" > "$work/out" 2>&1 || fail "the secondary was not restored: $(cat "$work/out")"
on $west volume start data > /dev/null
echo on > "$work/east/goes-on"
same "after the secondary was restored"
echo "snapshot_georep_test: all is well"
