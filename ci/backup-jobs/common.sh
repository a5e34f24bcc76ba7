# shellcheck shell=bash
# Sourced by the backup jobs beside it: what each of them has to get right, and the common versions get wrong.
#   STORE/NAME/…                  where snapshots lie: STORE is the catalogue's url of the store, NAME begins its path
#   TARGET, COPY                  their names in the catalogue (default: NAME, nas), for the retention gate
#   PRUNE=no                      leave everything, ask nobody
#   KEEP_DAYS                     what is younger stays, whatever the gate says (default: 30). The gate lets go of all that the
#                                 catalogue's `retention:` does not ask for: without one, of all but the newest that is proved
#   GATE                          the program to ask, with its first words (default: restore-drill); where drills run on
#                                 another machine: GATE='ssh drills.example.org restore-drill'
#   ALLOW_SAME_DISK=yes           the store may lie on the disk of what is backed up: it is lost with it
# Exit status: 0 all done; 75 the backup is made, but what may go is not known or cannot be removed; anything else: no
# backup was made, and none is visible. What is printed is for the journal, or for cron's mail; a `| tee job.log` would
# take the exit status away, and the earlier log with it.
set -euo pipefail
unset CDPATH
umask 077

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

needs() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null 2>&1 || die "$program is not installed"
  done
}

# Usage: open_store STORE NAME; sets $place, where this job's snapshots lie, and $stamp. The time is that of the beginning:
# a snapshot is never younger than it says.
open_store() {
  store=$1 name=$2
  [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || die "the name '$name' is not made of letters, digits, dots and dashes"
  # Never made here: a disk that is not mounted must not be replaced by a directory of the same name.
  [ -d "$store" ] || die "the store $store is not there; is it mounted?"
  place=$store/$name
  mkdir -p "$place"
  exec 9>>"$place/.lock" # a file, because NFS locks no directory
  flock -n 9 || die "another job writes to $place"
  rm -rf "$place"/.part-* # of a job that was killed; nobody else writes here, as the lock says
  # shellcheck disable=SC2034 # for the jobs
  stamp=$(date -u +%Y%m%dT%H%M%SZ)
}

# Usage: refuse_same_disk WHAT-IS-BACKED-UP
refuse_same_disk() {
  [ "${ALLOW_SAME_DISK:-}" = yes ] || ! same_disk "$1" ||
    die "$1 and $place lie on one disk, and would be lost together"
}

# What cannot be asked counts as the same.
same_disk() {
  local here there
  here=$(stat -c %d -- "$1") && there=$(stat -c %d -- "$place") || return 0
  [ "$here" = "$there" ]
}

# Encrypts what it reads for everybody in the file of AGE_RECIPIENTS. Their private keys do not belong on this machine:
# who breaks in here must not read the backups as well.
encrypt() {
  age --encrypt --recipients-file "${AGE_RECIPIENTS:?a file with the public keys of age}"
}

# Usage: publish FILE; FILE lies under $place and its name begins with .part-. It gets its name, and a digest beside it,
# when it is whole and on the disk.
publish() {
  local part=$1 final=${1##*/.part-} digest
  [ ! -e "$place/$final" ] || die "$place/$final exists"
  sync "$part"
  # Of the bytes that are stored, under the name that they will have: what the drill compares. A digest of the file
  # before gzip, or under an absolute path, cannot be checked where the backup is.
  digest=$(sha256sum <"$part")
  printf '%s  %s\n' "${digest%% *}" "$final" >"$place/.part-$final.sha256"
  sync "$place/.part-$final.sha256"
  mv -T -- "$part" "$place/$final"
  mv -T -- "$place/.part-$final.sha256" "$place/$final.sha256" # last: whoever sees it sees all
  sync "$place"
  say "$name/$final: $(stat -c %s -- "$place/$final") bytes"
}

# Removes what the retention gate lets go: never what no drill has proved a successor of, however old it is. Pruning by
# age alone, before the new backup is proved, removes the last good one on the day that the new ones are bad.
prune() {
  local gate keys key until taken status=0 count=0
  [ "${PRUNE:-}" != no ] || return 0
  if [[ ! ${KEEP_DAYS:=30} =~ ^[0-9]{1,5}$ ]]; then
    say "nothing is removed: KEEP_DAYS=$KEEP_DAYS is no number of days" && return 75
  fi
  until=$(date -u -d "$KEEP_DAYS days ago" +%Y%m%dT%H%M%SZ)
  read -ra gate <<<"${GATE:-restore-drill}"
  keys=$("${gate[@]}" retention "${TARGET:-$name}" --copy "${COPY:-nas}" --prune-list </dev/null) || status=$?
  case $status in
    0) ;;
    1) say 'no drill has proved a snapshot yet: nothing is removed' && return 0 ;;
    *) say 'what may go is not known: nothing is removed' && return 75 ;;
  esac
  # What it names is inside of this job's own place, all of it, or nothing is removed.
  while IFS= read -r key; do
    [[ -z $key || $key =~ ^"$name"/[0-9]{8}T[0-9]{6}Z[A-Za-z0-9._-]*/?$ ]] ||
      { say "nothing is removed: the gate names '$key', which is not of this job" && return 75; }
  done <<<"$keys"
  while IFS= read -r key; do
    taken=${key#"$name"/}
    [[ -n $key && ${taken:0:16} < $until ]] || continue
    remove "${key%/}" || { say "$key cannot be removed" && return 75; }
    count=$((count + 1))
  done <<<"$keys"
  say "removed: $count"
}

# Gone at once, or not: a generation that is half removed would be drilled as one that is damaged.
remove() {
  [ ! -e "$store/$1" ] || mv -T -- "$store/$1" "$place/.part-gone" || return
  rm -rf -- "${place:?}/.part-gone" "${store:?}/$1.sha256"
}
