#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# witness.py on an ordinary directory, which is damaged behind its back in many ways: it must see each of them, and nothing where all is well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/polder-witness.XXXXXX")
trap 'rm -rf "$work"' EXIT

file='file=$(find . -type f -size +8k | sort | head -n 1)'
declare -A damages=(
  [nothing]=':'
  [byte]="$file; printf X | dd of=\$file bs=1 seek=4200 conv=notrunc status=none"
  [zeros]="$file; dd if=/dev/zero of=\$file bs=4096 seek=1 count=1 conv=notrunc status=none"
  [wrong-block]="$file; dd if=\$file of=\$file bs=4096 skip=1 count=1 conv=notrunc status=none"
  [lost-tail]="$file; truncate -s -4096 \$file"
  [longer]="$file; truncate -s +4096 \$file"
  [appended-twice]="$file; tail -c 4096 \$file > ../piece; cat ../piece >> \$file"
  [lost-name]="$file; rm -f \$file"
  [new-name]='touch new'
  [renamed]="$file; mv \$file other"
  [mode]="$file; chmod 111 \$file"
  [attribute]="$file; setfattr -n user.witness -v x \$file"
  [symlink]='ln -sfn elsewhere "$(find . -type l | head -n 1)"'
  [copied-link]='file=$(find . -type f -links +1 | head -n 1); cp -a $file copy; mv copy $file'
  [lost-directory]='rm -r "$(find . -mindepth 1 -type d | head -n 1)"'
)
has() { [ "$(find "$@" 2> /dev/null | wc -l)" -ge 3 ]; }
one() {  # NAME COMMAND
  local dir=$work/$1 pid
  mkdir -p "$dir/tree"
  "$here/witness.py" 3 "$dir/stop" "$dir/tree" "$dir/tree" > "$dir/out" 2> "$dir/err" &
  pid=$!
  # Until there is enough to damage, and it has ended its changes.
  while ! has "$dir/tree" -type f -links +1 || ! has "$dir/tree" -type l || ! has "$dir/tree" -mindepth 1 -type d || ! has "$dir/tree" -type f -size +8k
  do sleep 0.1; done
  touch "$dir/stop"
  while ! grep -q "at rest" "$dir/out"; do sleep 0.01; done
  kill -STOP $pid
  (cd "$dir/tree" && eval "$2")
  kill -CONT $pid
  local status=0
  wait $pid || status=$?
  echo $status > "$dir/status"
}
for name in "${!damages[@]}"; do one "$name" "${damages[$name]}" & done
wait
for name in "${!damages[@]}"; do
  status=$(cat "$work/$name/status")
  if [ "$name" = nothing ]; then wanted=0; else wanted=1; fi
  [ "$status" -eq $wanted ] || { echo "FAILED: $name: status $status: $(cat "$work/$name/err")" >&2; exit 1; }
  ! grep -q Traceback "$work/$name/err" || { echo "FAILED: $name: $(cat "$work/$name/err")" >&2; exit 1; }
done
echo "${#damages[@]} passed, 0 failed"
