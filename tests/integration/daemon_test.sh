#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# polderd and polder as an admin meets them: init, create, start, restarts, kill -9, wrong words, two daemons.
#   POLDER_BIN: directory of polder and polderd
set -euo pipefail
. "$(dirname "$0")/daemon.sh"
port=$((20000 + RANDOM % 20000))

# No daemon.
expect 4 "polderd is not running: systemctl start polderd" polder volume list
expect 2 "Example" polder volume create

# A daemon without a cluster.
start_daemon
expect 0 "next: polder cluster init" polder cluster status
expect 1 "type: polder cluster init" polder volume create data "alpha:$work/brick" force
expect 1 "not a port number" polder cluster init --listen 127.0.0.1:x
expect 1 "cluster name" polder cluster init --name 'no/name'

# A second daemon on the same state is refused with a sentence.
second=0
"$bin/polderd" --cluster test --state-dir "$work/state" --run-dir "$work/run2" > "$work/second" 2>&1 || second=$?
[ $second -eq 1 ] || fail "the second daemon ended with $second"
grep -q "another polderd uses the state directory" "$work/second" || fail "second daemon: $(cat "$work/second")"

# The cluster.
expect 0 "this node is alpha" polder cluster init --name east --node alpha --listen "127.0.0.1:$port"
expect 1 "in the cluster 'east' already" polder cluster init
expect 0 "east" polder cluster status
expect 0 "ok   cluster: east" polder doctor

# Volumes.
expect 1 "there is no node 'beta'" polder volume create data "beta:$work/brick"
expect 1 "'force'" polder volume create data "alpha:$work/brick"
expect 1 "not in this version" polder volume create data replica 2 "alpha:$work/a" "alpha:$work/b" force
expect 0 "next: polder volume start data" polder volume create data "alpha:$work/brick" force
expect 1 "there is a volume 'data' already" polder volume create data "alpha:$work/other" force
expect 1 "is inside of the brick" polder volume create more "alpha:$work/brick/below" force
expect 1 "there is no volume 'nope'" polder volume start nope
expect 0 "next: mount -t polder" polder volume start data
expect 1 "started already" polder volume start data
expect 0 "Started" polder volume info data
expect 0 "brick multiplexing: on" polder volume status data
expect 0 '"online":true' polder --json volume status data
expect 1 "did you mean changelog.segment-size?" polder volume set data changelog.segmentsize 1MiB
expect 1 "64KiB to 1GiB" polder volume set data changelog.segment-size 1
expect 0 "changelog.segment-size is 8MiB" polder volume set data changelog.segment-size 8192K
expect 0 "8MiB" polder volume get data changelog.segment-size
expect 0 "no damage" polder changelog verify data
expect 0 "data" polder volume list

# It all comes back: after SIGTERM, and after kill -9 at any time.
end_daemon TERM
[ $ended -eq 0 ] || fail "SIGTERM: polderd ended with $ended"
expect 4 "polderd is not running" polder volume list
start_daemon
expect 0 '"running":true' polder --json volume info data
for _ in 1 2 3 4 5; do
  "$bin/polder" volume set data changelog.segment-size "$((RANDOM % 100 + 1))MiB" > /dev/null 2>&1 &
  sleep "0.0$((RANDOM % 5))"
  end_daemon 9
  wait || true
  start_daemon
  expect 0 '"running":true' polder --json volume info data
done

# A client joins with a token, once.
polder cluster token --ttl 5m > "$work/token" 2> /dev/null
expect 1 "not a join token" polder client join --token-file /dev/null --client-dir "$work/client"
expect 0 "next: mount -t polder" polder client join --token-file "$work/token" --client-dir "$work/client" --name web1
for file in ca.pem cert.pem key.pem; do [ -s "$work/client/$file" ] || fail "$file is missing"; done
[ "$(stat -c %a "$work/client/key.pem")" = 600 ] || fail "the key can be read by others"
expect 1 "used already" polder client join --token-file "$work/token" --client-dir "$work/client"
openssl verify -CAfile "$work/client/ca.pem" "$work/client/cert.pem" > /dev/null || fail "openssl does not accept the certificate"

# A volume that lost its brick is degraded, and says so; nothing else suffers.
polder volume create two "alpha:$work/two" force > /dev/null
polder volume start two > /dev/null
end_daemon TERM
mv "$work/two" "$work/two.away"
start_daemon
expect 3 "degraded" polder cluster status
expect 3 "degraded" polder volume status two
expect 0 "brick multiplexing: on" polder volume status data
mv "$work/two.away" "$work/two"
expect 0 "started" polder volume start two force
expect 0 "east" polder cluster status

# The end of a volume.
expect 1 "is started; type: polder volume stop data" polder --yes volume delete data
expect 0 "next: polder volume start data" polder volume stop data
expect 1 "is not started" polder volume stop data
expect 1 "add --yes" polder volume delete data < /dev/null
expect 0 "keeps the data" polder volume delete data --dry-run
expect 0 "polder brick export" polder --yes volume delete data
[ -d "$work/brick/.polder" ] || fail "delete took the brick's data"
expect 0 "copied to" polder brick export "$work/brick" "$work/exported"
end_daemon TERM
[ $ended -eq 0 ] || fail "the last SIGTERM: polderd ended with $ended"
echo "daemon_test: all is well"
