#!/usr/bin/env bash
# Back up a Docker volume, encrypted.
#   AGE_RECIPIENTS=/etc/backup/recipients.txt docker-volume.sh uploads /mnt/backups uploads
# leaves /mnt/backups/uploads/20261123T031700Z_uploads.tar.gz.age and its .sha256. In the catalogue:
#   copies: {nas: {path: "uploads/{time:%Y%m%dT%H%M%S%Z}_uploads.tar.gz.age", complete_when: "{name}.sha256"}}
# common.sh has the variables, and besides:
#   IMAGE     what brings tar (default: debian:12-slim); pin it by its digest
#   QUIESCE   what happens meanwhile to the containers that use the volume: pause (default), stop, or none
# A database in the volume is as after a power cut, at best: back it up by its own means as well.
# What the common versions of this job do, and what becomes of it:
#   -v uplaods:/source    Docker makes a volume of that name, which is empty, and its backup is a success
#   tar in a container that may write to the volume, as root with every capability, with a network
#   docker run … || true  tar says with status 1 that a file changed while it was read
#   docker start at the end: not reached when tar fails, and the application stays down
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=ci/backup-jobs/common.sh
. "$here/common.sh"
[ $# = 3 ] || die 'usage: docker-volume.sh VOLUME STORE NAME'
needs docker gzip age sha256sum flock
quiesce=${QUIESCE:-pause}
case $quiesce in pause | stop | none) ;; *) die "QUIESCE=$quiesce is neither pause, stop nor none" ;; esac
volume=$1
mountpoint=$(docker volume inspect --format '{{.Mountpoint}}' -- "$volume" 2>/dev/null) || die "there is no volume $volume"
open_store "$2" "$3"
# Only where the engine is on this machine can the two disks be compared.
[ ! -d "$mountpoint" ] || refuse_same_disk "$mountpoint"

users=()
halted=$place/.halted # how they were halted, and their ids
# Let them go on by the opposite of how they were halted; those that do not are remembered, but for what is gone.
go_on() {
  local each found left=()
  for each in "${users[@]}"; do
    case $1 in
      pause) ! docker unpause "$each" >/dev/null || continue ;;
      stop) ! docker start "$each" >/dev/null || continue ;;
    esac
    found=$(docker ps --all --quiet --filter "id=$each" --filter status=paused --filter status=exited) || found=unknown
    [ -z "$found" ] || left+=("$each")
  done
  users=("${left[@]}")
  [ ${#left[@]} = 0 ] && rm -f "$halted"
}
# No trap helps against kill -9: what such a job left halted would stay so for ever. How it did that is its own affair.
if [ -s "$halted" ]; then
  mapfile -t users <"$halted"
  how=${users[0]}
  users=("${users[@]:1}")
  go_on "$how" || die "what an earlier job halted does not go on: ${users[*]}; start them, and remove $halted"
fi
# A signal ends this script and not the container, which would go on reading, and this job's lock be held, till it is done.
label=restore-drill.backup=$(readlink -f -- "$place")
end_tar() {
  local found
  found=$(docker ps --all --quiet --filter "label=$label") || return
  [ -z "$found" ] || xargs -r docker rm --force >/dev/null <<<"$found"
}
# Whatever happens, the application runs again; what a killed job left ends; and a backup that is not whole goes.
trap 'go_on "$quiesce" || true; end_tar || true; rm -f "${part:-}"' EXIT
end_tar || true
case $quiesce in
  pause | stop)
    found=$(docker ps --quiet --no-trunc --filter "volume=$volume" --filter status=running)
    [ -z "$found" ] || mapfile -t users <<<"$found"
    if [ ${#users[@]} != 0 ]; then
      printf '%s\n' "$quiesce" "${users[@]}" >"$halted"
      docker "$quiesce" "${users[@]}" >/dev/null
    fi
    ;;
esac

part=$place/.part-${stamp}_$name.tar.gz.age
docker run --rm --network none --read-only --cap-drop ALL --cap-add DAC_READ_SEARCH --security-opt no-new-privileges \
  --label "$label" --user 0:0 --mount "type=volume,source=$volume,target=/source,readonly,volume-nocopy" --entrypoint tar \
  "${IMAGE:-debian:12-slim}" --create --file=- --directory=/source --numeric-owner --one-file-system --acls --xattrs . |
  gzip -n | encrypt >"$part"
awake=true
go_on "$quiesce" || awake=false
publish "$part"
prune
$awake || die "the backup is good, but these do not go on: ${users[*]}"
