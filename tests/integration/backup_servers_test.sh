#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# -o backup-volfile-servers: a mount whose first address is dead, refused or silent, and one that finds its daemon at another
# address after an outage. One daemon, two addresses, in a network of its own.
#   POLDER_BIN: directory of polderd, polder, mount.polder
set -euo pipefail
. "$(dirname "$0")/daemon.sh"
ns=polder-backup-$$
first=10.98.7.1 second=10.98.7.2 silent=10.98.7.66
into=(nsenter "--net=/run/netns/$ns" --)
end_after() {
  ip netns pids "$ns" 2> /dev/null | xargs -r kill -9 2> /dev/null || true
  ip netns delete "$ns" 2> /dev/null || true
}
refused() {  # TEXT OPTIONS: wrong usage, before anything is tried
  local got=0
  inside timeout 30 "$bin/mount.polder" "$first:/data" "$work/mnt" -f -o "client-dir=$work/client,$2" > "$work/out" 2>&1 || got=$?
  [ $got -eq 1 ] || fail "$2: status $got: $(cat "$work/out")"
  grep -qF -- "$1" "$work/out" || fail "$2: '$1' is not in: $(cat "$work/out")"
}
mount_from() {  # SOURCE OPTIONS
  inside timeout 60 "$bin/mount.polder" "$1" "$work/mnt" -o "client-dir=$work/client,log-file=$work/mount.log,$2"
}
end_mount() {
  umount "$work/mnt"
  for _ in $(seq 100); do pgrep -f "mount.polder .* $work/mnt " > /dev/null || return 0; sleep 0.1; done
  fail "mount.polder is still there"
}

ip netns add "$ns"
inside ip link set lo up
# Nobody is at the other end of this cable: what is sent to an address there that is not ours is never answered.
inside ip link add net0 type veth peer name net1
inside ip link set net1 up
inside ip address add "$first/24" dev net0
inside ip address add "$second/24" dev net0
inside ip link set net0 up
inside ip neighbour add "$silent" lladdr 02:00:00:00:00:66 dev net0 nud permanent
start_daemon
polder cluster init --name east --node alpha --listen 0.0.0.0:24117 > /dev/null
polder volume create data "alpha:$work/brick" force > /dev/null
polder volume start data > /dev/null
polder cluster token --volume data > "$work/token" 2> /dev/null
polder client join --token-file "$work/token" --client-dir "$work/client" --name desk > /dev/null
mkdir "$work/mnt"

# --- bad values are named
refused "not a port number" "backup-volfile-servers=$second:99999"
refused "a port without a host" "backup-volfile-servers=24117:$second"
refused "say HOST" "backup-volfile-servers=:$second"
refused "say HOST" "backup-volfile-servers=$first::$second"
refused "has no value" "backup-volfile-servers="
refused "takes one host" "backupvolfile-server=$first:$second"
refused "backup-volfile-servers" "backup-volfile-servers=a/b"

# --- the first address is dead at mount time: silent, or refusing
begin=$SECONDS
mount_from "$silent:/data" "backup-volfile-servers=$second"
[ $((SECONDS - begin)) -lt 15 ] || fail "a silent first address took $((SECONDS - begin)) s"
echo one > "$work/mnt/file"
grep -q "through $second:24117" "$work/mount.log" || fail "not through $second: $(cat "$work/mount.log")"
end_mount
mount_from "$first:9:/data" "backupvolfile-server=$second:24117"
[ "$(cat "$work/mnt/file")" = one ] || fail "the file is not there"
end_mount
mount_from "$silent,$first:/data" "backup-volfile-servers=$second:24117:$silent"
end_mount
if mount_from "$first:9:/data" "backup-volfile-servers=$silent" 2> "$work/out"; then fail "mounted through nobody"; fi
grep -q "no answer within" "$work/out" || fail "no address answers: $(cat "$work/out")"

# --- the daemon is at another address after an outage; what is open and written goes on
: > "$work/mount.log"
mount_from "$first:/data" "backup-volfile-servers=$second"
grep -q "through $first:24117" "$work/mount.log" || fail "not through $first"
exec 5> "$work/mnt/log"
echo before >&5
end_daemon KILL
inside ip address del "$first/24" dev net0
inside ip address add "$second/24" dev net0 2> /dev/null || true
echo during >&5 &  # waits
writer=$!
start_daemon
begin=$SECONDS
timeout 60 tail --pid="$writer" -f /dev/null || fail "the write never ended"
echo after >&5
exec 5>&-
[ $((SECONDS - begin)) -lt 30 ] || fail "it took $((SECONDS - begin)) s to find the other address"
[ "$(cat "$work/mnt/log")" = "$(printf 'before\nduring\nafter')" ] || fail "the file holds: $(cat "$work/mnt/log")"
grep -q "connected again to $second:24117" "$work/mount.log" || fail "not through $second: $(cat "$work/mount.log")"
end_mount
echo "backup_servers_test: all is well"
