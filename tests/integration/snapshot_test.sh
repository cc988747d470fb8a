#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Snapshots of a real volume on btrfs, under a writer: what a snapshot holds, kill -9 at every crash point of creation,
# deletion and restore, and that the changelog goes on after a restore.
#   POLDER_BIN: directory of polderd, polder, mount.polder
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
export POLDER_BIN=${POLDER_BIN:-$top/build/dev/bin}
cluster=$top/tools/dev/cluster
name=sn$((RANDOM % 100000))
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-snapshot-test.XXXXXX")
writer=

cleanup() {
  status=$?
  [ -n "$writer" ] && kill "$writer" 2> /dev/null || true
  if [ $status -ne 0 ]; then tail -n 40 "$($cluster dir $name)/polderd.log" | sed 's/^/  log: /' >&2 || true; fi
  grep -oE " $work[^ ]* " /proc/mounts | tr -d ' ' | sort -r | xargs -r -n1 umount -l || true
  $cluster down $name || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "snapshot_test: $*" >&2; exit 1; }
polder() { $cluster exec $name -- polder "$@"; }
snapshot() { polder snapshot "$@"; }
expect() {  # STATUS TEXT COMMAND...
  local wanted=$1 text=$2 got=0
  shift 2
  "$@" > "$work/out" 2>&1 < /dev/null || got=$?
  [ $got -eq "$wanted" ] || fail "$*: status $got instead of $wanted: $(cat "$work/out")"
  grep -qF -- "$text" "$work/out" || fail "$*: '$text' is not in: $(cat "$work/out")"
}
# A crash point is armed in the daemon's environment, and only for the command that is to meet it.
restart_with() {  # [CRASH-POINT]
  $cluster stop $name 1
  POLDER_CRASH_POINT=${1:-} $cluster start $name 1
}
die_at() {  # CRASH-POINT COMMAND...: the daemon is killed there, and starts again without
  local point=$1
  shift
  restart_with "$point"
  if "$@" > "$work/out" 2>&1; then fail "$point: the daemon was not killed there ($*)"; fi
  gone "$point: $* failed, but the daemon lives: $(cat "$work/out")"
  $cluster start $name 1
}
running() { $cluster list | grep -q "^$name node 1 .* running"; }
gone() {  # WHY NOT
  for _ in $(seq 100); do running || return 0; sleep 0.1; done
  fail "$1"
}
start_and_die_at() {  # CRASH-POINT: what is done at a start is killed, too
  if POLDER_CRASH_POINT=$1 $cluster start $name 1 2> "$work/out"; then fail "$1: the start was not killed"; fi
  gone "$1: $(cat "$work/out")"
}
# While $work/slow has a number, btrfs waits that many seconds before each snapshot.
mkdir "$work/bin"
cat > "$work/bin/btrfs" << EOF
#!/bin/sh
case "\$*" in "subvolume snapshot "*) [ -s "$work/slow" ] && sleep "\$(cat "$work/slow")" ;; esac
exec $(command -v btrfs) "\$@"
EOF
chmod +x "$work/bin/btrfs"
PATH=$work/bin:$PATH
slow() { echo "$1" > "$work/slow"; }
fast() { rm -f "$work/slow"; }
on_disk() { ls "$node/brick/.polder-snapshots/data" 2> /dev/null | sort; }
listed() { snapshot list --json | python3 -c 'import json,sys; print("\n".join(sorted(s["id"] for s in json.load(sys.stdin))))'; }
consistent() {  # what the store lists is what the storage has, and nothing is held back
  [ "$(on_disk)" = "$(listed)" ] || fail "$1: on disk: $(on_disk | xargs); listed: $(listed | xargs)"
}
status_of() { polder volume status data --json | python3 -c "import json,sys; print(json.load(sys.stdin)['brick_status'][0]['$1'])"; }
# mounted NAME DIRECTORY
mount_snapshot() { mkdir -p "$2"; $cluster mount $name "$1" "$2"; }
# check_prefix DIRECTORY LEAST MOST: the writer's numbers there are exactly 1..p, LEAST <= p <= MOST.
check_prefix() {
  cat "$1"/seq.* | sort -n > "$work/numbers"
  local count
  count=$(wc -l < "$work/numbers")
  seq "$count" | cmp -s - "$work/numbers" || fail "$1: the numbers are not 1..$count: $(seq "$count" | diff - "$work/numbers" | head -3)"
  [ "$count" -ge "$2" ] || fail "$1: $2 were acknowledged before, but only $count are there"
  [ "$count" -le "$3" ] || fail "$1: $count are there, only $3 had been written"
}
acked() { cat "$work/acked"; }

# Each number goes into one of four files, one after the other is acknowledged.
start_writer() {
  python3 -u - "$work/mnt" "$work/acked" "$work/issued" << 'EOF' &
import os, sys
volume, acked, issued = sys.argv[1:]
files = [os.open(f"{volume}/seq.{i}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for i in range(4)]
def note(path, number):
    with open(path + ".new", "w") as f: f.write(f"{number}\n")
    os.rename(path + ".new", path)
number = 0
while True:
    number += 1
    note(issued, number)
    os.write(files[number % 4], f"{number}\n".encode())
    note(acked, number)
EOF
  writer=$!
  for _ in $(seq 100); do [ -s "$work/acked" ] && return; sleep 0.1; done
  fail "the writer does not write"
}
goes_on() {  # the writer is not held
  local before
  before=$(acked)
  for _ in $(seq 300); do [ "$(acked)" -gt "$before" ] && return; sleep 0.1; done
  fail "$1: the writer is held back"
}

$cluster up $name --fs btrfs --size 1G
node=$($cluster dir $name)
host=$(polder cluster status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["node"])' 2> /dev/null || echo localhost)
polder volume create data "$($cluster address $name):$node/brick/data" force > /dev/null
expect 1 "polder volume start data" snapshot create early data
polder volume start data > /dev/null
$cluster mount $name data "$work/mnt"

# --- creation under a writer
start_writer
least=$(acked)
first=$(snapshot create first data description "with a writer")
most=$(cat "$work/issued")
[[ $first =~ ^first_GMT-[0-9]{4}\.[0-9]{2}\.[0-9]{2}-[0-9]{2}\.[0-9]{2}\.[0-9]{2}$ ]] || fail "create printed '$first'"
goes_on "after the creation"
expect 0 "activated" snapshot activate "$first"
expect 1 "activated already" snapshot activate "$first"
mount_snapshot "$first" "$work/first"
check_prefix "$work/first" "$least" "$most"
touch "$work/first/new" 2> "$work/out" && fail "a snapshot can be written" || grep -q "Read-only" "$work/out" || fail "$(cat "$work/out")"
! rm -f "$work/first/seq.0" 2> /dev/null || fail "a snapshot's file can be removed"
expect 0 "with a writer" snapshot info "$first"
expect 0 "Started" snapshot status "$first"

mount_snapshot "$first" "$work/other"
snapshot deactivate "$first" > /dev/null
expect 32 "snapshot activate" $cluster mount $name "$first" "$work/refused"
snapshot activate "$first" > /dev/null
check_prefix "$work/first" "$least" "$most"   # it waited
umount "$work/other"

# --- names and limits
snapshot create plain data no-timestamp > /dev/null
expect 1 "already" snapshot create plain data no-timestamp
expect 1 "volume 'data'" snapshot create data data no-timestamp
expect 1 "may have letters" snapshot create "a/b" data
expect 1 "there is a snapshot 'plain'" polder volume create plain "$($cluster address $name):$node/brick/plain" force
expect 0 "2" snapshot config data snap-max-hard-limit 2
expect 1 "snap-max-hard-limit is 2" snapshot create third data
expect 1 "word of the commands" snapshot create all data no-timestamp
expect 1 "the most" snapshot create long data description "$(printf '%2000s' x)"
expect 1 "from 1 to 256" snapshot config data snap-max-hard-limit 0
snapshot config data snap-max-hard-limit 256 > /dev/null
expect 1 "polder snapshot delete volume data" sh -c "$cluster exec $name -- polder volume stop data && $cluster exec $name -- polder --yes volume delete data"
polder volume start data > /dev/null
consistent "after refusals"

# --- a killed creation leaves nothing
before=$(on_disk)
for point in after-intent after-presync after-barrier after-mark after-backend after-lower before-record; do
  die_at "snapshot/$point" snapshot create killed data
  [ "$(on_disk)" = "$before" ] || fail "$point: left on disk: $(on_disk | xargs)"
  consistent "$point"
  goes_on "$point"
done
kill -STOP "$writer"   # four files are not read at once
check_prefix "$work/mnt" "$(acked)" 1000000000
kill -CONT "$writer"
check_prefix "$work/first" "$least" "$most"   # served again after each start

# Killed again while it is taken back.
restart_with snapshot/after-backend
snapshot create killed data > "$work/out" 2>&1 || true
gone "after-backend"
start_and_die_at snapshot/undone
$cluster start $name 1
consistent "killed twice"
goes_on "killed twice"

# --- btrfs outlives the daemon, or takes too long
slow 4
snapshot create killed data > "$work/out" 2>&1 &
creation=$!
for _ in $(seq 100); do pgrep -f "sleep 4" > /dev/null && break; sleep 0.1; done
$cluster kill $name 1
wait $creation || true
$cluster start $name 1
fast
consistent "killed while btrfs was at work"
goes_on "killed while btrfs was at work"
slow 3
snapshot create stopped data > "$work/out" 2>&1 &
creation=$!
for _ in $(seq 100); do pgrep -f "sleep 3" > /dev/null && break; sleep 0.1; done
$cluster stop $name 1
wait $creation || true
fast
$cluster start $name 1
consistent "stopped while btrfs was at work"
goes_on "stopped while btrfs was at work"
slow 11
expect 1 "held for too long" snapshot create late data
fast
consistent "a barrier that fell"
goes_on "a barrier that fell"

# --- a file system that is nearly full
mkdir "$node/brick/ballast"
for i in $(seq 200); do
  read -r available blocks < <(stat -f -c '%a %b' "$node/brick")
  [ $((100 * (blocks - available) / blocks)) -lt 96 ] || break
  fallocate -l 16M "$node/brick/ballast/$i" 2> /dev/null || fallocate -l 1M "$node/brick/ballast/$i"
done
expect 1 "delete snapshots or enlarge it" snapshot create full data
rm -r "$node/brick/ballast"
sync -f "$node/brick"
consistent "a full file system"

# --- a killed deletion is finished
for point in delete-after-intent delete-after-backend; do
  doomed=$(snapshot create doomed data no-timestamp)
  snapshot activate "$doomed" > /dev/null
  mount_snapshot "$doomed" "$work/doomed"
  die_at "snapshot/$point" polder --yes snapshot delete "$doomed"
  expect 1 "there is no snapshot" snapshot info "$doomed"
  expect 2 "Stale" ls "$work/doomed"   # not as an empty directory
  umount "$work/doomed"
  consistent "$point"
done

# --- restore
kill "$writer"; wait "$writer" 2> /dev/null || true; writer=
total=$(acked)
count_of() { cat "$1"/seq.* | wc -l; }
good=$(snapshot create good data no-timestamp)
before=$(cat "$work/mnt"/seq.* | sort -n | md5sum)
damage() { echo damaged > "$work/mnt/seq.0"; rm -f "$work/mnt/seq.1"; echo new > "$work/mnt/new-file"; }
damage
index=$(status_of changelog_appended)
expect 1 "polder volume stop data" polder --yes snapshot restore "$good"
polder volume stop data > /dev/null
expect 0 "changes since then are undone" polder --dry-run snapshot restore "$good"
expect 1 "add --yes" snapshot restore "$good"
expect 0 "next: polder volume start data" polder --yes snapshot restore "$good"
polder volume start data > /dev/null
restored_as_good() {
  [ "$(cat "$work/mnt"/seq.* | sort -n | md5sum)" = "$before" ] || fail "$1: the content is not the snapshot's"
  [ ! -e "$work/mnt/new-file" ] || fail "$1: a later file is still there"
}
for _ in $(seq 50); do [ -e "$work/mnt/new-file" ] || break; sleep 0.1; done
restored_as_good "restore"
after=$(status_of changelog_appended)
[ "$after" -gt "$index" ] || fail "the log went back from $index to $after"
expect 0 "no damage" polder changelog verify data
polder changelog show data --json 2> /dev/null | grep -c restored | grep -qx 1 || fail "the log does not say once that the volume was restored"
consistent "after the restore"
kept=$(snapshot list volume data | grep '^pre-restore' | tail -n 1)
snapshot activate "$kept" > /dev/null
mount_snapshot "$kept" "$work/kept"
[ "$(cat "$work/kept/seq.0")" = damaged ] && [ -e "$work/kept/new-file" ] || fail "what was replaced was not kept"
umount "$work/kept"
echo more > "$work/mnt/after-restore" || fail "the restored volume cannot be written"

# --- a killed restore is taken back before the commit, finished after it
for point in restore-after-intent restore-after-copy restore-after-carry restore-before-commit before-exchange after-exchange \
             restore-after-commit restore-done; do
  damage
  polder volume stop data > /dev/null
  index=$after
  die_at "snapshot/$point" polder --yes snapshot restore "$good"
  consistent "$point"
  polder volume start data > /dev/null || fail "$point: the volume does not start"
  for _ in $(seq 50); do [ -e "$work/mnt/seq.0" ] && break; sleep 0.1; done
  case $point in
    restore-after-intent | restore-after-copy | restore-after-carry)
      [ "$(cat "$work/mnt/seq.0")" = damaged ] || fail "$point: the volume is not as it was" ;;
    *)
      for _ in $(seq 50); do [ -e "$work/mnt/new-file" ] || break; sleep 0.1; done
      restored_as_good "$point" ;;
  esac
  after=$(status_of changelog_appended)
  [ "$after" -gt "$index" ] || fail "$point: the log went back from $index to $after"
  expect 0 "no damage" polder changelog verify data
done

# Killed again while it is finished.
damage
polder volume stop data > /dev/null
restart_with snapshot/before-exchange
polder --yes snapshot restore "$good" > "$work/out" 2>&1 || true
gone "before-exchange"
start_and_die_at snapshot/after-exchange
start_and_die_at snapshot/restore-after-commit
$cluster start $name 1
polder volume start data > /dev/null
for _ in $(seq 50); do [ -e "$work/mnt/new-file" ] || break; sleep 0.1; done
restored_as_good "killed three times"
consistent "killed three times"

# --- the first start after a restore is killed, too
damage
polder volume stop data > /dev/null
polder --yes snapshot restore "$good" > /dev/null
times=$(polder changelog show data --json 2> /dev/null | grep -c restored || true)
die_at snapshot/after-restored polder volume start data
polder volume start data > /dev/null
[ -z "$(ls "$node/brick/data/.polder/restored" 2> /dev/null)" ] || fail "the note of the restore is still there"
for _ in $(seq 50); do [ -e "$work/mnt/new-file" ] || break; sleep 0.1; done
restored_as_good "a killed first start"

# --- the end
umount "$work/first"
expect 0 "will no longer exist" polder --dry-run snapshot delete all
expect 0 "deleted" polder --yes snapshot delete volume data
[ -z "$(on_disk)" ] || fail "left on disk: $(on_disk | xargs)"
[ -z "$(listed)" ] || fail "left in the store: $(listed | xargs)"
echo "snapshot_test: all is well"
