#!/usr/bin/env bash
# Back up a tree of files as generations that share what has not changed.
#   ENCRYPTED_STORE=yes rsync-link-dest.sh /srv/app /mnt/backups app
# leaves /mnt/backups/app/20261123T031700Z/ with a SHA256SUMS of every file in it, and points `latest` there. In the
# catalogue:
#   copies: {nas: {path: "app/{time:%Y%m%dT%H%M%S%Z}/", latest: app/latest, checksum: {manifest: SHA256SUMS}}}
#   expect: {files: {manifest: SHA256SUMS}}
# common.sh has the variables, and besides:
#   ENCRYPTED_STORE=yes   says that the store's own file system is encrypted. Files that are to be shared between generations
#                         cannot be encrypted one by one; where the store is not yours, use restic or Borg instead
# What the common versions of this job do, and what becomes of it:
#   latest=$(ls | tail -1)   takes a generation that was cut off for the newest, links from it, and calls it a success
#   rsync into the name      a generation that is half there is seen as a whole one
#   cp -al, rsync --inplace  write through the links, and change all generations at once
#   ln -sf                   a moment without a `latest`, or a link inside of the old generation
#   no digests               a file that rots in one generation is linked into all that follow
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=ci/backup-jobs/common.sh
. "$here/common.sh"
[ $# = 3 ] || die 'usage: rsync-link-dest.sh DIRECTORY STORE NAME'
needs rsync sha256sum flock
source=${1%/}
[ -n "$(find "$source/" -mindepth 1 -print -quit)" ] || die "$source is not there, or empty; is it mounted?"
[ ! -e "$source/SHA256SUMS" ] || die "$source/SHA256SUMS is where the list of digests has to be"
[ "${ENCRYPTED_STORE:-}" = yes ] || die 'files would lie in the store as they are; ENCRYPTED_STORE=yes says that it is encrypted'
open_store "$2" "$3"
refuse_same_disk "$source/"
# Each generation would hold all that were before it. (A store that is mounted below is another file system, and left out.)
[[ $(readlink -f -- "$place")/ != "$(readlink -f -- "$source/" | sed 's,/*$,/,')"* ]] || ! same_disk "$source/" ||
  die "the store lies in $source itself"
final=$place/$stamp
part=$place/.part-$stamp
[ ! -e "$final" ] || die "$final exists"
trap 'rm -rf "$part"' EXIT

# The generation that this job finished last, as it said itself; whatever else lies there.
previous=$(readlink -- "$place/latest" || true)
[[ $previous =~ ^[0-9]{8}T[0-9]{6}Z$ && -f $place/$previous/SHA256SUMS ]] || previous=

copied=0
rsync --archive --hard-links --acls --xattrs --numeric-ids --one-file-system \
  ${previous:+--link-dest="../$previous"} -- "$source/" "$part/" || copied=$?
case $copied in
  0) ;;
  24) say 'some files vanished while they were copied' ;; # ordinary where a tree is in use
  *) die "rsync ended with status $copied" ;;
esac
# All of it vanished: a disk that was taken away meanwhile. What was copied until then is half a generation.
[ -n "$(find "$source/" -mindepth 1 -print -quit)" ] || die "$source vanished while it was copied"

# With ./ before each name: a file that is called - would else be the standard input.
(cd "$part" && find . -type f ! -path ./SHA256SUMS -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum >SHA256SUMS)
[ -s "$part/SHA256SUMS" ] || die "$source has no files"

# What is the same file in both generations must have the same digest: else it has rotted, or somebody wrote to it. (A
# name with a backslash or a line break in it is escaped in these lists, and left to the drill.)
if [ -n "$previous" ]; then
  # The list before counts twice, so that no line of it is left alone.
  changed=$(export LC_ALL=C && sort -- "$place/$previous/SHA256SUMS"{,} "$part/SHA256SUMS" | uniq -u | cut -c 67-)
  while IFS= read -r file; do
    [ -z "$file" ] || [ ! "$part/$file" -ef "$place/$previous/$file" ] ||
      die "$name/$previous is damaged, and the new one would be: the content of a file is not what it was"
  done <<<"$changed"
fi

sync --file-system "$part"
mv -T -- "$part" "$final"
ln -s "$stamp" "$place/.part-latest"
mv -T -- "$place/.part-latest" "$place/latest"
sync "$place"
say "$name/$stamp: $(wc -l <"$final/SHA256SUMS") files"
prune
