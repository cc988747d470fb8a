#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What an admin sees of a running volume: metrics, top, profile, status with its details, statedumps; on a real mount.
#   POLDER_BIN: directory of polderd, polder, mount.polder
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/daemon.sh"
port=$((20000 + RANDOM % 10000))
scrape=127.0.0.1:$((30000 + RANDOM % 10000))
holders=
end_before() {
  [ -n "$holders" ] && kill $holders 2> /dev/null || true
}
end_after() {
  sleep 0.2
  umount -l "$work/bricks" 2> /dev/null || true
}
has() { grep -qE -- "$1" "$work/out" || fail "'$1' is not in: $(cat "$work/out")"; }
lacks() { ! grep -qE -- "$1" "$work/out" || fail "'$1' is in: $(cat "$work/out")"; }
json() { polder --json "$@" | python3 -c 'import json,sys; d=json.load(sys.stdin); print(eval(sys.argv[1]))' "$query"; }
ask() {  # PYTHON-EXPRESSION of d, COMMAND...
  query=$1
  shift
  json "$@"
}
equals() { [ "$1" = "$2" ] || fail "$3: $1 instead of $2"; }
metrics() { python3 "$here/metrics_check.py" "http://$scrape/metrics" "$@"; }

# --- metrics: off by default, served to scrapers by an option, and nothing else there.
start_daemon
! metrics > /dev/null 2>&1 || fail "metrics are served without having been asked for"
end_daemon TERM
got=0
timeout 10 "$bin/polderd" --metrics-listen nonsense:x > "$work/out" 2>&1 || got=$?
equals $got 2 "--metrics-listen nonsense"
has 'metrics-listen'
start_daemon --metrics-listen "$scrape"
equals "$(metrics 'polder_build_info{}')" 1 "before the cluster is made"
for path in /v1/volumes /v1/cluster /v1/doctor / /metrics/x; do
  python3 - "http://$scrape$path" << 'PY' || fail "$path is open to strangers"
import sys, urllib.request, urllib.error
try:
    urllib.request.urlopen(sys.argv[1], timeout=10)
    sys.exit(1)
except urllib.error.HTTPError as e:
    sys.exit(0 if e.code == 403 else 1)
PY
done

truncate -s 400M "$work/disk"
mkfs.xfs -q "$work/disk"
mkdir "$work/bricks" "$work/mnt"
mount -o loop,noatime "$work/disk" "$work/bricks"
polder cluster init --name east --node alpha --listen "127.0.0.1:$port" > /dev/null
polder volume create data "alpha:$work/bricks/data" > /dev/null
expect 1 "type: polder volume start data" polder volume top data open
expect 1 "volume 'data' has no geo-replication session to nowhere:24117::data" polder volume geo-replication data nowhere::data delete
polder volume start data > /dev/null
"$bin/mount.polder" localhost:/data "$work/mnt" -o "socket=$work/run/data.sock,log-file=$work/mount.log"

# --- counters: as many as there were.
mkdir "$work/mnt/dir"
for i in $(seq 20); do echo "$i" > "$work/mnt/dir/f$i"; done
[ ! -e "$work/mnt/absent" ]
brick="volume=\"data\",brick=\"alpha:$work/bricks/data\""
read -r -d '' creates mkdirs written enoent up clients < <(metrics "polder_brick_operations_total{$brick,op=\"create\"}" \
  "polder_brick_operation_duration_seconds_count{$brick,op=\"mkdir\"}" "polder_brick_operation_bytes_total{$brick,op=\"write\"}" \
  "polder_brick_operation_errors_total{$brick,op=\"lookup\",errno=\"ENOENT\"}" "polder_brick_up{$brick}" \
  "polder_volume_clients_connected{volume=\"data\"}"; printf '\0') || true
equals "$creates" 20 "creates"
equals "$mkdirs" 1 "mkdirs"
equals "$written" 51 "bytes written"
[ "$enoent" -ge 1 ] || fail "lookups of what is not there: $enoent"
equals "$up" 1 "brick up"
equals "$clients" 1 "clients connected"
python3 "$here/metrics_check.py" "unix:$POLDER_SOCKET" 'polder_changelog_records_total{}' > "$work/out"
[ "$(cat "$work/out")" -ge 21 ] || fail "records: $(cat "$work/out")"
equals "$(metrics 'polder_snapshots{volume="data"}')" 0 "snapshots"
equals "$(metrics 'polder_volume_running{volume="data"}')" 1 "running"
[ "$(metrics 'polder_volume_leases{volume="data"}')" -ge 21 ] || fail "leases on what the mount has made: $(metrics 'polder_volume_leases{}')"
equals "$(metrics 'polder_volume_lease_recalls_total{volume="data"}')" 0 "recalls with one client"

# --- top
for i in $(seq 30); do dd if=/dev/zero of="$work/mnt/dir/hot" bs=4k count=1 conv=notrunc status=none; done
for i in $(seq 10); do ls "$work/mnt/dir" > /dev/null; done
dd if="$work/mnt/dir/hot" of=/dev/null iflag=direct bs=4k status=none 2> /dev/null || cat "$work/mnt/dir/hot" > /dev/null
expect 0 "/dir/hot" polder volume top data write list-cnt 1
lacks '/dir/f'
expect 0 "Brick: alpha:$work/bricks/data" polder volume top data open list-cnt 3
has '^[0-9]+ +/dir/hot'
expect 0 "MiB/s" polder volume top data write-perf
expect 0 "/dir" polder volume top data opendir
expect 0 "/dir" polder volume top data readdir brick "alpha:$work/bricks/data"
expect 1 "has no brick" polder volume top data readdir brick "alpha:/nowhere"
equals "$(ask 'd["bricks"][0]["files"][0]["path"]' volume top data write list-cnt 1)" /dir/hot "top --json"
equals "$(ask 'd["bricks"][0]["files"][0]["count"] >= 30' volume top data write list-cnt 1)" True "top count"
expect 1 "say open, read, write" polder volume top data nonsense
expect 2 "a number from 1 to 100" polder volume top data open list-cnt 0
expect 2 "writes no test files" polder volume top data read-perf bs 4096 count 1
expect 2 "needs a value" polder volume top data open list-cnt
expect 0 "anew" polder volume top data clear
expect 0 "nothing yet" polder volume top data write

# --- profile: a difference from its start on, kept over a restart of the daemon.
expect 1 "type: polder volume profile data start" polder volume profile data info
expect 0 "next: polder volume profile data info" polder volume profile data start
expect 1 "already" polder volume profile data start
mkdir "$work/mnt/profiled"
expect 0 "mkdir" polder volume profile data info
has 'Cumulative Stats'
has 'Interval 0 Stats'
equals "$(ask '[o["count"] for o in d["bricks"][0]["cumulative"]["ops"] if o["op"]=="mkdir"]' volume profile data info peek)" "[1]" "mkdirs since start"
equals "$(ask '[o["count"] for o in d["bricks"][0]["interval"]["ops"] if o["op"]=="mkdir"]' volume profile data info)" "[]" "mkdirs of the interval"
expect 0 "Interval" polder volume profile data info incremental peek
lacks 'Cumulative'
expect 0 "Cumulative" polder volume profile data info cumulative
lacks 'Interval'
expect 2 "the form is" polder volume profile data whatever
end_daemon TERM
start_daemon --metrics-listen "$scrape"
mkdir "$work/mnt/again"
expect 0 "mkdir" polder volume profile data info
expect 0 "anew" polder volume profile data info clear
expect 0 "no longer" polder volume profile data stop
expect 1 "is not profiled" polder volume profile data stop

# --- status
expect 0 "brick multiplexing: on; this node's 1 running bricks share pid $daemon and port $port" polder volume status data
expect 0 "File System" polder volume status data detail
has 'File System +: +xfs|File System: +xfs'
has 'Device: +/dev/loop'
has 'Inode Size: +512'
has 'Mount Options: .*noatime'
has 'Changelog Stable'
expect 0 "Inode Count" polder volume status data "alpha:$work/bricks/data" detail
expect 1 "has no brick" polder volume status data alpha:/nowhere detail
echo written > "$work/mnt/for-clients"
expect 0 "$(hostname):$work/mnt" polder volume status data clients
has 'Address: +pid [0-9]+'
has 'Version: +[0-9]'
has 'Connected Since: +20'
equals "$(ask 'd["clients"][0]["bytes_written"] >= 8' volume status data clients)" True "bytes written by the client"
expect 0 "resident_bytes" polder volume status data mem
equals "$(ask 'd["section"]["mem"]["resident_bytes"] > 1000000' volume status data mem)" True "memory"
expect 2 "is not understood" polder volume status data nonsense
expect 0 "There are no active volume tasks" polder volume status data tasks
expect 0 "Snapshot Count" polder volume info data
has 'Number of Bricks: +1'

# --- what is held: an open file, a lock, somebody who waits for it.
exec 5> "$work/mnt/held"
equals "$(ask 'd["section"]["bricks"][0]["count"] >= 1' volume status data fd)" True "open handles"
flock -o "$work/mnt/held" sleep 60 5>&- &
holders=$!
for _ in $(seq 100); do [ "$(ask 'd["brick_status"][0]["locks_held"]' volume status data)" = 1 ] && break; sleep 0.1; done
flock -o "$work/mnt/held" true 5>&- &
holders+=" $!"
for _ in $(seq 100); do [ "$(ask 'd["brick_status"][0]["locks_waiting"]' volume status data)" = 1 ] && break; sleep 0.1; done
sleep 0.2
expect 0 "set_lock" polder volume status data callpool
expect 0 "waiting" polder volume status data locks
path=$(polder volume statedump data)
[[ $path = "$work/run/data."*.dump.* ]] || fail "statedump printed '$path'"
equals "$(stat -c %a "$path")" 600 "mode of the dump"
cp "$path" "$work/out"
has '^\[volumes\.1\.bricks\.1\.callpool\.calls\.1\]'
has '^op=set_lock'
has '^age_s=[0-9.e-]+'
has '^state=waiting'
has '^state=held'
has '^kind=flock'
has '^appended_index=[0-9]+'
has '^resident_bytes='
has '^\[volumes\.1\.leases\]'
has '^recalls_unanswered=0'
equals "$(ask 'd["dump"]["volumes"][0]["bricks"][0]["locks"]["waiting"]' volume statedump data locks)" 1 "statedump --json"
path=$(polder volume statedump data callpool)
cp "$path" "$work/out"
lacks 'journal'
expect 1 "there is no section" polder volume statedump data everything

# By signals: the daemon, and the mount, while its daemon is away.
kill -USR1 "$daemon"
for _ in $(seq 100); do ls "$work"/run/polderd.*.dump.* > /dev/null 2>&1 && break; sleep 0.1; done
cp "$work"/run/polderd.*.dump.* "$work/out"
has '^program=polderd'
has '^volume=data'
end_daemon KILL
stat "$work/mnt/unknown-name" > /dev/null 2>&1 5>&- &
holders+=" $!"
sleep 1
mount_pid=$(pgrep -f "mount.polder localhost:/data $work/mnt")
kill -USR1 "$mount_pid"
for _ in $(seq 100); do ls /run/polder/mount*."$mount_pid".dump.* > /dev/null 2>&1 && break; sleep 0.1; done
mv /run/polder/mount*."$mount_pid".dump.* "$work/out"
has '^program=mount.polder'
has '^connected=false'
has '^op=(lookup|set_lock)'
has '^age_s=[0-9.]+'
has '^last_error=.+'
start_daemon
for _ in $(seq 100); do stat "$work/mnt/dir" > /dev/null 2>&1 && break; sleep 0.1; done
kill $holders 2> /dev/null || true
holders=
exec 5>&-
for _ in $(seq 50); do umount "$work/mnt" 2> /dev/null && break; sleep 0.1; done
! mountpoint -q "$work/mnt" || fail "the mount is still in use"
polder volume stop data > /dev/null
expect 0 "N/A" polder volume status data
expect 0 "N/A" polder volume status data detail
expect 0 "N/A: the volume does not run" polder volume status data fd
echo "admin_test: all is well"
