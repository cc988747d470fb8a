#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# SIGSTOP and SIGCONT of polderd and of mount.polder, and a network that is cut between them, for longer than leases last; --long: also
# for longer than a connection may be silent, and than a session lives without one. Under verifying load nothing that was acknowledged
# is lost, and no mount that was away tells what is not true any more, or writes by a lock that others have got.
#   pause_test.sh [--rounds N] [--long]
set -euo pipefail
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/torture.sh"
rounds=1 long=0
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --long) long=1; shift ;;
    *) echo "usage: pause_test.sh [--rounds N] [--long]" >&2; exit 2 ;;
  esac
done
step() { echo "== $*"; }
volume_up
polder volume set data network.session-timeout 5s > /dev/null
a=$work/a b=$work/b c=$work/c
volume_mount "$a"
volume_mount "$b"
server() { cat "$("$cluster" dir "$name")/pid"; }

# A third mount comes over the network, through a line that can be cut.
address=$("$cluster" address "$name")
polder cluster token --role client --volume data > "$work/token"
"$cluster" exec "$name" -- polder client join --token-file "$work/token" --client-dir "$work/client" > /dev/null
"$cluster" exec "$name" -- "$top/tests/support/wan/wan.py" serve "$address:24200" "$address:24117" "$work/control" &
wait_until "the line is there" [ -S "$work/control" ]
wan() { "$top/tests/support/wan/wan.py" "$work/control" "$@"; }
mkdir "$c"
"$cluster" exec "$name" -- mount.polder "$address:24200:/data" "$c" -o "client-dir=$work/client,log-file=$work/c.log"
realpath "$c" >> "$("$cluster" dir "$name")/../mounts"

pause_server() { kill -STOP "$(server)"; sleep "$1"; kill -CONT "$(server)"; }
pause_mount() { local pid; pid=$(mount_pid "$1"); kill -STOP "$pid"; sleep "$2"; kill -CONT "$pid"; }
cut_line() { wan partition $2 > /dev/null; sleep "$1"; wan heal > /dev/null; }

witness one 1 "$a/one" "$b/one"
witness two 2 "$b/two" "$c/two"
witness three 3 "$c/three" "$a/three"
for ((round = 1; round <= rounds; round++)); do
  step "stopped for longer than a lease"
  pause_server 1.5
  pause_mount "$a" 1.5
  pause_mount "$c" 1.5
  pid=$(mount_pid "$a")
  step "what a stopped mount has in its caches"
  "$here/stale.py" "$a/stale" "$b/stale" "kill -STOP $pid" "kill -CONT $pid"
  step "what a mount that is cut off has in its caches"
  directions=(up down "")
  [ $long -eq 1 ] || directions=("${directions[RANDOM % 3]}")
  for direction in "${directions[@]}"; do
    "$here/stale.py" "$c/stale" "$b/stale" "$top/tests/support/wan/wan.py $work/control partition $direction" "$top/tests/support/wan/wan.py $work/control heal"
  done
  witnesses_live
done
if [ $long -eq 1 ]; then
  step "a daemon that is silent for longer than the 30 s for which a client waits"
  pause_server 45
  witnesses_live
  step "a mount that is silent for longer than the 60 s for which the daemon waits, but whose session lives on"
  polder volume set data network.session-timeout 600s > /dev/null
  pause_mount "$a" 75
  cut_line 75 up
  cut_line 75 down
  witnesses_live
  polder volume set data network.session-timeout 5s > /dev/null
fi
witnesses_stop
if [ $long -eq 1 ]; then
  step "a mount whose session ends while it is stopped: others get its locks, and it cannot write by them any more"
  mkfifo "$work/input"
  exec 7<> "$work/input"
  mkdir "$b/held"
  "$here/holder.py" hold "$a/held" "$work/holds" <&7 > "$work/held" &
  holder=$!
  wait_until "somebody holds" [ -e "$work/holds" ]
  witness expired 4 "$a/expired" --breaks --expires
  "$here/holder.py" want "$b/held" "$work/wants" &
  wanter=$!
  wait_until "somebody wants" [ -e "$work/wants" ]
  pid=$(mount_pid "$a")
  sleep 2
  kill -STOP "$pid"
  wait $wanter || fail "the locks of a silent client were not given on"
  kill -CONT "$pid"
  echo "write TWICE" >&7
  wait_until "the write is answered" [ -s "$work/held" ]
  grep -E "^(ESTALE|EIO)$" "$work/held" || fail "a lock is gone, and its holder writes on: $(cat "$work/held")"
  sleep 3
  kill $holder
  witnesses_stop
fi
"$top/tools/dev/compare" "$a" "$b"
"$top/tools/dev/compare" "$a" "$c"
volume_check
echo "pause_test: all is well"
