#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What another machine does to mount a volume: install, join by token, `mount -t polder` over TLS; and who is refused.
#   POLDER_BIN: directory of polderd, polder, mount.polder, in a build folder
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
export POLDER_BIN=${POLDER_BIN:-$top/build/dev/bin}
cluster=$top/tools/dev/cluster
name=mt$((RANDOM % 100000))
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-mount-test.XXXXXX")

cleanup() {
  status=$?
  if [ $status -ne 0 ]; then cat "$work"/*.log 2> /dev/null | tail -n 20 | sed 's/^/  log: /' >&2 || true; fi
  umount "$work/mnt" 2> /dev/null || true
  "$cluster" down "$name" || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "mount_test: $*" >&2; exit 1; }
polder() { "$cluster" exec "$name" -- polder "$@"; }
# Commands of another machine: another network, and what was installed is in its /usr/sbin, where mount(8) looks.
elsewhere() {
  "$cluster" exec "$name" 2 -- unshare --mount --propagation slave bash -c '
    mount -t overlay -o "lowerdir=$1/root/usr/sbin:/usr/sbin" polder-test /usr/sbin && shift && exec "$@"' - "$work" "$@"
}
expect() {  # STATUS TEXT COMMAND...
  local wanted=$1 text=$2 got=0
  shift 2
  "$@" > "$work/out" 2>&1 < /dev/null || got=$?
  [ $got -eq "$wanted" ] || fail "$*: status $got instead of $wanted: $(cat "$work/out")"
  grep -qF -- "$text" "$work/out" || fail "$*: '$text' is not in: $(cat "$work/out")"
}

DESTDIR=$work/root cmake --install "$(dirname "$POLDER_BIN")" --prefix /usr > "$work/install.log"
for file in usr/bin/polder usr/sbin/polderd usr/sbin/mount.polder; do [ -x "$work/root/$file" ] || fail "$file is not installed"; done
for unit in polderd.service polderd@.service; do
  program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$work/root/usr/lib/systemd/system/$unit")
  [ -x "$work/root$program" ] || fail "$unit starts $program, which is not installed"
done

"$cluster" up "$name" --nodes 2
address=$("$cluster" address "$name")
for volume in data other; do
  polder volume create $volume "$address:$("$cluster" dir "$name")/brick/$volume" force > /dev/null
  polder volume start $volume > /dev/null
done
mkdir "$work/mnt"
options=client-dir=$work/client,log-file=$work/mount.log

expect 32 "type: polder client join" elsewhere mount -t polder -o "$options" "$address:/data" "$work/mnt"
polder cluster token --volume data > "$work/token" 2> /dev/null
sed 's/./X/20' "$work/token" > "$work/bad-token"
expect 1 "token" elsewhere polder client join --token-file "$work/bad-token" --client-dir "$work/client"
expect 0 "next: mount -t polder -o client-dir=$work/client $address" \
  elsewhere polder client join --token-file "$work/token" --client-dir "$work/client" --name desk
expect 1 "token" elsewhere polder client join --token-file "$work/token" --client-dir "$work/again" --name desk2
expect 32 "other" elsewhere mount -t polder -o "$options" "$address:/other" "$work/mnt"
expect 32 "nothing" elsewhere mount -t polder -o "$options" "$address:/nothing" "$work/mnt"

# The mount and what is done in it, in one mount namespace.
elsewhere bash -euc '
  mount -t polder -o "$1" "$2:/data" "$3"
  findmnt -n -o FSTYPE,SOURCE "$3" | grep -q "polder.*$2:/data"
  head -c 3000000 /dev/urandom > "$3/file"; sync "$3/file"; md5sum < "$3/file" > "$3/sum"
  umount "$3"
  mount -t polder -o "$1,ro" "$2:/data" "$3"
  md5sum < "$3/file" | cmp - "$3/sum"
  ! touch "$3/new" 2> /dev/null
  umount "$3"' - "$options" "$address" "$work/mnt" || fail "the mount over TLS"
for _ in $(seq 100); do pgrep -f "mount.polder.*$work/mnt" > /dev/null || break; sleep 0.1; done
! pgrep -f "mount.polder.*$work/mnt" > /dev/null || fail "mount.polder is still there after umount"
"$cluster" down "$name"
! "$cluster" list | grep -q "^$name " || fail "the cluster is still there after: cluster down"
echo "mount_test: all is well"
