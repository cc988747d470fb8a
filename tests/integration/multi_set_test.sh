#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A volume of several bricks as an admin and its users meet it: creation that is all or nothing, use over kill -9, a brick that joins
# while a writer runs, bricks that go and come back, export.
#   POLDER_BIN: directory of polderd, polder, mount.polder
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/tests/integration
export POLDER_BIN=${POLDER_BIN:-$top/build/dev/bin}
cluster=$top/tools/dev/cluster
name=${POLDER_TEST_NAME:-ms$((RANDOM % 100000))}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-multi-set.XXXXXX")
load= holder=

cleanup() {
  status=$?
  trap - EXIT
  if [ $status -ne 0 ]; then tail -n 20 "$("$cluster" dir "$name")/polderd.log" | sed 's/^/  log: /' >&2 || true; fi
  [ -n "$load" ] && kill "$load" 2> /dev/null || true
  [ -n "$holder" ] && kill "$holder" 2> /dev/null || true
  "$cluster" down "$name" || true
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT
fail() { echo "multi_set_test: $*" >&2; exit 1; }
polder() { "$cluster" exec "$name" -- polder "$@"; }
expect() {  # STATUS TEXT COMMAND...
  local wanted=$1 text=$2 got=0
  shift 2
  timeout 60 "$@" > "$work/out" 2>&1 < /dev/null || got=$?
  [ $got -eq "$wanted" ] || fail "$*: status $got instead of $wanted: $(cat "$work/out")"
  grep -qF -- "$text" "$work/out" || fail "$*: '$text' is not in: $(cat "$work/out")"
}
expect_polder() {  # STATUS TEXT WORDS...
  local wanted=$1 text=$2
  shift 2
  expect "$wanted" "$text" "$cluster" exec "$name" -- polder "$@"
}
# wait_for SECONDS TEXT WORDS...: until what polder prints has the text.
wait_for() {
  local limit=$1 text=$2
  shift 2
  for ((i = 0; i < limit * 5; i++)); do
    polder "$@" > "$work/out" 2>&1 || true
    grep -qF -- "$text" "$work/out" && return
    sleep 0.2
  done
  fail "polder $*: '$text' has not come within $limit s: $(cat "$work/out")"
}
restart() { "$cluster" kill "$name" 1; "$cluster" start "$name" 1; }
# crash_at POINT WORDS...: the daemon dies at that point of the command, and is started again.
crash_at() {
  local point=$1
  shift
  "$cluster" stop "$name" 1
  POLDER_CRASH_POINT=$point "$cluster" start "$name" 1
  polder "$@" > /dev/null 2>&1 && fail "$point was not reached by: polder $*"
  restart
}
# The old mount's loop device goes when polderd has let go of it.
mount_again() { for ((i = 0; i < 100; i++)); do mount -o loop "$1.img" "$1" 2> /dev/null && return; sleep 0.3; done; mount -o loop "$1.img" "$1"; }
all_run_again() {
  for ((i = 0; i < 100; i++)); do polder volume status data > "$work/out" 2>&1 && return; sleep 0.3; done
  fail "a brick that came back is not taken: $(cat "$work/out")"
}
# hold DIR: opens and locks a file in each directory of DIR; once $work/back exists the files are written, and must still be locked.
hold() {
  python3 - "$1" "$work/back" > "$work/holder" 2>&1 << 'EOT' &
import fcntl, os, subprocess, sys, time
top, back = sys.argv[1:]
files = []
for name in sorted(os.listdir(top)):
    file = open(f"{top}/{name}/held", "w+b", buffering=0)
    fcntl.lockf(file, fcntl.LOCK_EX)
    files.append(file)
print("held", flush=True)
while not os.path.exists(back):
    time.sleep(0.1)
others = "import fcntl, sys\nfor name in sys.argv[1:]:\n try: fcntl.lockf(open(name, 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB); print(name)\n except BlockingIOError: pass"
got = subprocess.run([sys.executable, "-c", others] + [file.name for file in files], capture_output=True, text=True)
if got.stdout or got.returncode:
    sys.exit(f"others got locks: {got.stdout}{got.stderr}")
for file in files:
    file.write(b"after")
    os.fsync(file.fileno())
    if os.pread(file.fileno(), 99, 0) != b"after":
        sys.exit(f"{file.name} does not have what was written")
print("all is well", flush=True)
EOT
  holder=$!
  for ((i = 0; i < 100; i++)); do grep -q held "$work/holder" && return; sleep 0.1; done
  fail "the holder of files: $(cat "$work/holder")"
}
begin_load() { rm -f "$work/stop"; "$here/load.py" "$work/mnt/load" "$work/mirror" 120 "$1" "$work/stop" > /dev/null 2> "$work/load.error" & load=$!; }
end_load() { touch "$work/stop"; wait "$load" || fail "the writer: $(cat "$work/load.error")"; load=; }
same_as_mirror() {
  rsync -rlHpgoDXni --checksum --delete "$work/mirror/" "$work/mnt/load/" > "$work/differences"
  [ ! -s "$work/differences" ] || fail "$1: the volume differs from the mirror: $(head "$work/differences")"
}

"$cluster" up "$name" --fs xfs --size 512M --bricks 4
dir=$("$cluster" dir "$name")
node=$("$cluster" address "$name")
b1=$dir/brick/data b2=$dir/brick2/data b3=$dir/brick3/data b4=$dir/brick4/data

# Refusals, each of which makes nothing.
expect_polder 1 "named twice" volume create data "$node:$b1" "$node:$b1"
expect_polder 1 "inside of" volume create data "$node:$b1" "$node:$b1/below"
expect_polder 1 "one file system" volume create data "$node:$b1" "$node:$dir/brick/other"
expect_polder 1 "root file system" volume create data "$node:$b1" "$node:/var/tmp/polder-no-brick"
expect_polder 1 "not in this version" volume create data replica 3 "$node:$b1" "$node:$b2" "$node:$b3"
mkdir "$b3" && touch "$b3/precious"
expect_polder 1 "precious" volume create data "$node:$b1" "$node:$b2" "$node:$b3"
[ ! -e "$b1" ] && [ ! -e "$b2" ] || fail "a creation that was refused left a brick"
rm "$b3/precious"

# A creation that is killed is taken back; what was somebody's directory stays.
for point in node/create-after-announcement node/making-before-format:2 node/making-after-format:3 node/create-before-commit; do
  crash_at "$point" volume create data "$node:$b1" "$node:$b2" "$node:$b3"
  expect_polder 0 "no volumes yet" volume list
  [ ! -e "$b1" ] && [ ! -e "$b2" ] && [ -d "$b3" ] && [ -z "$(ls -A "$b3")" ] || fail "$point left something"
done
# A brick whose daemon dies when it has joined, has.
expect_polder 0 "volume pair created" volume create pair "$node:$dir/brick/pair"
expect_polder 0 "volume pair started" volume start pair
crash_at node/add-brick-after-commit volume add-brick pair "$node:$dir/brick2/pair"
expect_polder 0 "set 1: 50.0 %" volume info pair
expect_polder 0 "volume pair stopped" volume stop pair
expect_polder 0 "volume pair deleted" --yes volume delete pair
rm -r "$dir/brick/pair" "$dir/brick2/pair"

expect_polder 0 "volume data created" volume create data "$node:$b1" "$node:$b2" "$node:$b3"
expect_polder 0 "volume data started" volume start data
expect_polder 0 "Distribute" volume info data
expect_polder 0 "set 2: 33.3 %" volume info data
expect_polder 1 "not in this version" snapshot create nightly data
expect_polder 1 "not in this version" volume rebalance data start
polder volume status data > "$work/out"
[ "$(grep -c ":$dir/brick" "$work/out")" -eq 3 ] || fail "status: $(cat "$work/out")"

# Use: everything that is easily lost, and random operations over kill -9.
"$cluster" mount "$name" data "$work/mnt"
"$top/tools/dev/fixture" "$work/mnt/fixture" --small
rsync -aHAXS --modify-window=-1 "$work/mnt/fixture/" "$work/fixture/"
"$top/tools/dev/compare" "$work/fixture" "$work/mnt/fixture"
for brick in "$b1" "$b2" "$b3"; do
  [ "$(find "$brick/dirs" -mindepth 1 -maxdepth 1 | wc -l)" -ge 2 ] || fail "no directories came to $brick"
done
mkdir "$work/mnt/load" "$work/mirror"
for round in 1 2 3; do
  begin_load $round
  sleep 2
  restart
  sleep 1
  end_load
done
same_as_mirror "after kill -9"

# A brick joins while the writer runs. Killed before its commit it has not joined; after it, it has.
for point in node/add-brick-after-announcement node/making-after-format node/add-brick-before-commit; do
  crash_at "$point" volume add-brick data "$node:$b4"
  [ ! -e "$b4" ] || fail "$point left the brick"
  expect_polder 0 "Brick3" volume info data
  polder volume info data | grep -q Brick4 && fail "$point: the brick has joined"
done
begin_load 4
sleep 1
expect_polder 1 "one file system" volume add-brick data "$node:$dir/brick/other"
expect_polder 0 "set 3, 25.0 % of the slots" volume add-brick data "$node:$b4"
sleep 2
end_load
same_as_mirror "after add-brick"
mkdir "$work/mnt/new"
for ((i = 0; i < 64; i++)); do mkdir "$work/mnt/new/$i"; done
[ "$(find "$b4/dirs" -mindepth 1 -maxdepth 1 | wc -l)" -ge 4 ] || fail "new directories do not go to the new brick"
"$top/tools/dev/compare" "$work/fixture" "$work/mnt/fixture"
restart
expect_polder 0 "set 3: 25.0 %" volume info data
same_as_mirror "after add-brick and kill -9"
expect_polder 0 "no damage" changelog verify data --brick 3

# A brick's file system goes and comes back; the others go on. First its mount, then its disk.
hold "$work/mnt/new"
umount -l "$dir/brick4"
wait_for 20 "degraded: " volume status data
expect_polder 3 "degraded" volume status data
touch "$work/mnt/on-the-first"
mount_again "$dir/brick4"
all_run_again
sleep 1
touch "$work/back"
wait "$holder" || fail "files that were open while their brick was away: $(cat "$work/holder")"
"$top/tools/dev/compare" "$work/fixture" "$work/mnt/fixture"
xfs_io -x -c shutdown "$dir/brick3"
wait_for 60 "degraded: " volume status data
touch "$work/mnt/still-on-the-first"
for ((i = 0; i < 50; i++)); do umount "$dir/brick3" 2> /dev/null && break; sleep 0.3; done
mount_again "$dir/brick3"
all_run_again
"$top/tools/dev/compare" "$work/fixture" "$work/mnt/fixture"
same_as_mirror "after bricks came back"

# A volume starts without one of its bricks, and takes it when it comes.
"$cluster" stop "$name" 1
umount "$dir/brick2"
"$cluster" start "$name" 1
expect_polder 3 "degraded" volume status data
expect_polder 3 "degraded" cluster status
mount_again "$dir/brick2"
expect_polder 0 "volume data started" volume start data force
expect_polder 0 "Started" volume status data
same_as_mirror "after a start without a brick"

# The bricks alone give the tree back.
umount "$work/mnt"
expect_polder 0 "volume data stopped" volume stop data
expect 0 "copied to" "$POLDER_BIN/polder" brick export "$b1" "$b2" "$b3" "$b4" "$work/exported"
"$top/tools/dev/compare" "$work/fixture" "$work/exported/fixture"
rsync -rlHpgoDXni --checksum --delete "$work/mirror/" "$work/exported/load/" > "$work/differences"
[ ! -s "$work/differences" ] || fail "the export differs from the mirror: $(head "$work/differences")"
expect 3 "not exported: " "$POLDER_BIN/polder" brick export "$b1" "$b2" "$b4" "$work/partly"
grep -q "INCOMPLETE" "$work/out" || fail "an export without a brick does not say so: $(cat "$work/out")"
expect 1 "name the brick of set 0" "$POLDER_BIN/polder" brick export "$b2" "$work/nothing"
expect_polder 0 "volume data deleted" --yes volume delete data
echo "multi_set_test: all is well"
