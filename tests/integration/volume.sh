# SPDX-License-Identifier: GPL-3.0-or-later
# For tests that need one mounted volume: source it, change `bricks`, `fs` and `size` if you like, then volume_up. Everything is
# taken down at exit.
#   work: a scratch directory; brick_place: the first brick's file system (the others: brick_place and their number)
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export POLDER_BIN=${POLDER_BIN:-$top/build/dev/bin}
cluster=$top/tools/dev/cluster
name=${POLDER_TEST_CLUSTER:-vt$((RANDOM % 100000))}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-$(basename "$0" .sh).XXXXXX")
bricks=${POLDER_TEST_BRICKS:-1} fs=xfs size=8G

volume_down() {
  local status=$?
  trap - EXIT
  jobs -p | xargs -r kill 2> /dev/null || true
  [ $status -eq 0 ] || tail -n 20 "$("$cluster" dir "$name")/polderd.log" 2> /dev/null | sed 's/^/  log: /' >&2 || true
  "$cluster" down "$name" || true
  rm -rf --one-file-system "$work"
  exit $status
}
fail() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }
polder() { "$cluster" exec "$name" -- polder "$@"; }
volume_bricks() {
  local i
  for ((i = 1; i <= bricks; i++)); do echo "$("$cluster" address "$name"):${brick_place%/}$([ $i -eq 1 ] || echo $i)/data"; done
}
volume_up() {
  trap volume_down EXIT
  chmod 755 "$work"  # other users work in the mounts, too
  "$cluster" up "$name" --fs "$fs" --size "$size" --bricks "$bricks"
  brick_place=$("$cluster" dir "$name")/brick
  polder volume create data $(volume_bricks) > /dev/null
  polder volume start data > /dev/null
}
volume_mount() { "$cluster" mount "$name" data "$@"; }
volume_restart() { "$cluster" kill "$name" 1 && "$cluster" start "$name" 1; }
# The log is whole, and the daemon had nothing to complain about that only a bug explains.
volume_check() {
  polder changelog verify data > /dev/null
  ! grep -E 'could be neither|EUCLEAN|assert' "$brick_place/../polderd.log" || fail "the daemon complains"
}
