#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A user's day on a mounted volume, with the programs that users have: git, make, SQLite, rsync, cp, tar, qemu-img, restic.
#   users_day_test.sh [--bricks N] [--only NAME]...
# Each part works below the mount in a directory of its own; it says what it checks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/volume.sh"
only=()
while [ $# -gt 0 ]; do
  case $1 in
    --bricks) bricks=$2; shift 2 ;;
    --only) only+=("$2"); shift 2 ;;
    *) echo "usage: users_day_test.sh [--bricks N] [--only NAME]..." >&2; exit 2 ;;
  esac
done
for program in git make cc sqlite3 rsync setfacl qemu-img restic tar; do
  command -v $program > /dev/null || fail "$program is missing; tools/dev/setup installs it"
done
export HOME=$work GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=advice.detachedHead GIT_CONFIG_VALUE_0=false GIT_AUTHOR_NAME=u GIT_AUTHOR_EMAIL=u@example.org GIT_COMMITTER_NAME=u GIT_COMMITTER_EMAIL=u@example.org

git_clone() {  # a repository of its own making: clone, check, change, push, collect garbage
  local origin=$work/origin
  "$here/make_project.py" "$work/source" 120
  git init -q -b main "$origin"
  cp -r "$work/source/." "$origin"
  git -C "$origin" add . && git -C "$origin" commit -qm first
  for i in 1 2 3 4 5; do echo "// $i" >> "$origin/src/part$i.c"; git -C "$origin" commit -qam "change $i"; done
  git clone -q --no-local "$origin" "$mnt/clone"
  git -C "$mnt/clone" fsck --full --strict
  [ -z "$(git -C "$mnt/clone" status --porcelain)" ]
  git init -q --bare "$mnt/bare.git"
  git -C "$mnt/clone" checkout -q -b work
  for i in 6 7 8; do echo "// $i" >> "$mnt/clone/src/part$i.c"; git -C "$mnt/clone" commit -qam "change $i"; done
  git -C "$mnt/clone" push -q "$mnt/bare.git" work
  git -C "$mnt/clone" gc -q --aggressive --prune=now
  git -C "$mnt/clone" fsck --full --strict
  git -C "$mnt/bare.git" fsck --full --strict
  git -C "$mnt/clone" worktree add -q "$mnt/worktree" main
  [ "$(git -C "$mnt/worktree" log --oneline | wc -l)" -eq 6 ]
  # The index knows sizes, times and inode numbers: unchanged files are not read again after a remount either.
  volume_remount
  GIT_TRACE_PERFORMANCE=0 git -C "$mnt/clone" diff --quiet || fail "git sees changes after a remount"
}

build() {  # untar and make -j2, make again does nothing, one changed header rebuilds what includes it
  "$here/make_project.py" "$work/project" 120
  tar -C "$work" -czf "$work/project.tar.gz" project
  mkdir "$mnt/build"
  tar -C "$mnt/build" -xzf "$work/project.tar.gz"
  make -s -C "$mnt/build/project" -j2
  make -s -C "$work/project" -j2
  [ "$("$mnt/build/project/program")" = "$("$work/project/program")" ] || fail "the program built on the mount says something else"
  make -q -C "$mnt/build/project" || fail "make finds something to do a second time"
  volume_remount
  make -q -C "$mnt/build/project" || fail "make finds something to do after a remount"
  sleep 1
  touch "$mnt/build/project/src/part7.h"
  [ "$(make -C "$mnt/build/project" -j2 | grep -c -- ' -c ')" -eq 2 ] || fail "a changed header does not rebuild its two users"
  make -s -C "$mnt/build/project" clean
}

sqlite() {  # two processes write under load, with each journal mode that a network file system can have
  for mode in delete truncate persist; do
    "$here/sqlite_load.py" "$mnt/$mode.db" $mode 2 6 &
    local load=$!
    sleep 3
    [ $mode != delete ] || volume_restart
    wait $load || fail "sqlite load in mode $mode"
    [ "$(sqlite3 "$mnt/$mode.db" 'pragma integrity_check')" = ok ] || fail "integrity_check in mode $mode"
  done
}

make_tree() {  # DIRECTORY: everything that rsync -aHAX and tar keep
  "$here/make_project.py" "$1" 60
  mkdir -p "$1/special"
  (cd "$1/special"
    echo text > file && ln file hard && ln -s file soft && ln -s nowhere dangling && mkfifo fifo && mknod null c 1 3 && mkdir -p deep/er
    truncate -s 300M sparse && printf x | dd of=sparse bs=1 seek=100000000 conv=notrunc status=none
    setfattr -n user.note -v "a note" file && setfattr -n trusted.mark -v mark deep && setfattr -n user.bytes -v 0x00ff00 file
    setfacl -m u:12345:rw,g:23456:r file && setfacl -d -m u:12345:rwx deep && touch deep/inherits
    chown 12345:23456 deep/er && chmod 2775 deep/er && chmod 4755 file && touch -d '1999-12-31 23:59:59.123456789' file deep
    touch "$(printf 'new\nline')" "$(printf '\377\376')" ' space ' '*' && touch -h -d 2001-01-01 soft)
}

copy() {  # rsync in and out, cp --reflink, tar with ACLs and xattrs: compared with rsync, getfacl, find
  make_tree "$work/tree"
  sleep 1  # rsync does not set the time of a node that it made in the second of the original
  rsync -aHAX --sparse "$work/tree/" "$mnt/in/"
  "$top/tools/dev/compare" "$work/tree" "$mnt/in"
  [ -z "$(rsync -aHAXni --delete "$work/tree/" "$mnt/in/")" ] || fail "rsync finds something to do a second time"
  rsync -aHAX --sparse "$mnt/in/" "$work/out/"
  "$top/tools/dev/compare" "$work/tree" "$work/out"
  cp -a --reflink=auto "$mnt/in" "$mnt/copy"
  "$top/tools/dev/compare" "$mnt/in" "$mnt/copy"
  tar -C "$mnt" --acls --xattrs --xattrs-include='*' --sparse -cf "$work/all.tar" in
  mkdir "$mnt/untarred" && tar -C "$mnt/untarred" --acls --xattrs --xattrs-include='*' -xpf "$work/all.tar"
  "$top/tools/dev/compare" "$mnt/in" "$mnt/untarred/in"
  tar -C "$mnt" --acls --xattrs --xattrs-include='*' -df "$work/all.tar" || fail "tar -d sees differences"
  [ "$(du -sk --apparent-size "$mnt/in" | cut -f1)" -gt 300000 ] && [ "$(du -sk "$mnt/copy" | cut -f1)" -lt 50000 ] || fail "the sparse file is not sparse"
}

vm_image() {  # qemu-img writes with O_DIRECT, locks, holes
  head -c 30M /dev/urandom > "$work/disk.raw"
  truncate -s 400M "$work/disk.raw"
  head -c 10M /dev/urandom | dd of="$work/disk.raw" bs=1M seek=200 conv=notrunc status=none
  for cache in none writeback; do
    qemu-img convert -t $cache -T $cache -O qcow2 "$work/disk.raw" "$mnt/$cache.qcow2" 2> "$work/error" ||
      qemu-img convert -t $cache -O qcow2 "$work/disk.raw" "$mnt/$cache.qcow2"  # the source's file system may have no O_DIRECT
    qemu-img check -q "$mnt/$cache.qcow2"
    qemu-img compare -q "$work/disk.raw" "$mnt/$cache.qcow2"
    qemu-img convert -T $cache -O raw "$mnt/$cache.qcow2" "$mnt/$cache.raw"
    qemu-img compare -q "$work/disk.raw" "$mnt/$cache.raw"
    [ "$(du -k "$mnt/$cache.raw" | cut -f1)" -lt 100000 ] || fail "qemu-img's holes are filled"
  done
  qemu-img snapshot -c one "$mnt/none.qcow2"
  qemu-img resize -q "$mnt/none.qcow2" 800M
  qemu-img check -q "$mnt/none.qcow2"
}

backup() {  # restic's second run reads nothing again: ctime, mtime, size and inode number stay, over restart and remount too
  make_tree "$mnt/home"
  local files
  export RESTIC_PASSWORD=secret RESTIC_REPOSITORY=$work/repository
  restic -q --no-cache init
  # By a relative path: the directories above the mount are none of ours.
  backup_again() { (cd "$mnt" && restic --no-cache backup --json home | tail -n 1); }
  backup_again > "$work/first.json"
  files=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["total_files_processed"])' "$work/first.json")
  [ "$files" -gt 50 ] || fail "restic saw $files files only"
  for event in nothing restart remount; do
    local device
    device=$(stat -c %d "$mnt")
    [ $event = nothing ] || volume_$event
    backup_again > "$work/next.json"
    # The kernel gives a mount any free device number, and restic keeps that with each directory.
    local moved=0
    [ "$(stat -c %d "$mnt")" = "$device" ] || moved=1
    python3 - "$work/next.json" "$files" $moved << 'END' || fail "restic after $event: $(cat "$work/next.json")"
import json, sys
summary = json.load(open(sys.argv[1]))
sys.exit(summary["files_new"] or summary["files_changed"] or summary["files_unmodified"] != int(sys.argv[2]) or
         (summary["dirs_changed"] and sys.argv[3] == "0") or summary["dirs_new"] or summary["data_blobs"])
END
    echo "restic after $event: $files files, none new, none changed, no data read"
  done
  echo more >> "$mnt/home/special/file"
  backup_again | grep -qE '"files_changed":2\b' || fail "restic misses a change of a file with two names"
  restic -q --no-cache restore latest --target "$mnt/restored"
  [ -z "$(rsync -aHAXni --checksum --delete --modify-window=-1 "$mnt/home/" "$mnt/restored/home/")" ] || fail "restic restored something else"
}

volume_up
mnt=$work/mnt
mkdir "$mnt"
volume_mount "$mnt"
volume_remount() { umount "$mnt"; volume_mount "$mnt"; }
for part in git_clone build sqlite copy vm_image backup; do
  [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" $part "* ]] || continue
  begin=$(date +%s)
  $part
  echo "$part: $(($(date +%s) - begin)) s"
done
volume_check
echo "users_day_test: all is well"
