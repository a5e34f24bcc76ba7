#!/usr/bin/env bash
# Back up an SQLite database that is in use, encrypted.
#   AGE_RECIPIENTS=/etc/backup/recipients.txt sqlite-online.sh /srv/shop/shop.db /mnt/backups shop
# leaves /mnt/backups/shop/20261123T031700Z_shop.db.gz.age and its .sha256. In the catalogue:
#   copies: {nas: {path: "shop/{time:%Y%m%dT%H%M%S%Z}_shop.db.gz.age", complete_when: "{name}.sha256"}}
# common.sh has the variables, and besides:
#   TMPDIR    where the copy lies meanwhile, not encrypted, for this account alone: best on a disk of this machine
# What the common versions of this job do, and what becomes of it:
#   cp shop.db        copies while it is written to, and leaves out what is in the -wal file; .backup does neither
#   .dump             ends with status 0 where the database is damaged, and without the rest of a table
#   sha256sum /srv/…  the digest of the wrong bytes (before gzip), under a path that is nowhere else
#   gzip -c >final    a backup under its final name while it is still written, or cut off for ever
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=ci/backup-jobs/common.sh
. "$here/common.sh"
[ $# = 3 ] || die 'usage: sqlite-online.sh DATABASE STORE NAME'
needs sqlite3 gzip age sha256sum flock
database=$1
[ -s "$database" ] || die "$database is not there, or empty" # sqlite3 would make a new one, and back that up
open_store "$2" "$3"
refuse_same_disk "$database"

work=$(mktemp -d)
copying=
# The copy is not encrypted. A signal does not wait for what makes it, which would write on where nobody removes it.
tidy() {
  [ -z "$copying" ] || kill "$copying" 2>/dev/null || true
  [ -z "$copying" ] || wait "$copying" 2>/dev/null || true
  rm -rf "$work" "${part:-}"
}
trap tidy EXIT
copy=$work/copy.db

ask() { sqlite3 -batch -bail -init /dev/null "$@"; }

sqlite3 -batch -bail -init /dev/null "$database" '.timeout 60000' ".backup main '$copy'" >/dev/null &
copying=$!
wait "$copying"
copying=
# Before anybody believes in it. integrity_check is content with a database that has nothing in it.
[ "$(ask "$copy" 'select count(*) > 0 from sqlite_schema')" = 1 ] || die "$database has no tables"
[ "$(ask "$copy" 'pragma integrity_check')" = ok ] || die "the copy of $database is damaged"
# SQLite itself lets applications leave such rows: a backup with them is better than none, and its drill tells of them.
orphans=$(ask "$copy" 'pragma foreign_key_check') || orphans=unknown
[ -z "$orphans" ] || say "warning: $database has rows that refer to nothing, or foreign keys that cannot be checked"

part=$place/.part-${stamp}_$name.db.gz.age
gzip -n <"$copy" | encrypt >"$part"
publish "$part"
prune
