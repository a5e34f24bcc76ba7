"""What stands in for the clients of stores where there is no network: they hand over what the drill has fetched.

A runbook of a remote store calls the store's own client. In the sandbox a script of the same name takes the object from
``$BACKUP_DIR``, where the verified artifacts lie at their keys relative to ``$BACKUP_URL``. It understands what a
generated runbook says and the usual forms of it; anything else fails and is named, so that no step passes by doing
nothing. That the client itself reaches the store is not shown by this, and belongs to the limits of such a drill.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Shared by all: ``give KEY-OR-ADDRESS DESTINATION`` copies what lies at a key.
_GIVE: Final = r"""#!/usr/bin/env bash
# Stands in for a client of a store: what it is asked for comes from $BACKUP_DIR.
set -eu
refuse() { echo "${0##*/}: in a drill only copying from $BACKUP_URL is stood in for: $*" >&2; exit 64; }
root=${BACKUP_URL%/}
# The path of the url below its host, or below its bucket or container.
case "$root" in
  sftp://*/~/*) below=${root#*/~/} ;;
  sftp://*) below=${root#*://}; case "$below" in */*) below=/${below#*/} ;; *) below= ;; esac ;;
  az://*) below=${root#az://}; case "$below" in */*) below=${below#*/} ;; *) below= ;; esac ;;
  rclone:*) below=${root#rclone:} ;;
  *) below=$root ;;
esac
give() {
  key=$1
  case "$key" in
    "$root"/*) key=${key#"$root"/} ;;
    "$below"/*) key=${key#"$below"/} ;;
    *) [ -z "$below" ] || refuse "$1" ;;
  esac
  key=${key%/}
  case "/$key/" in */../*) refuse "$1" ;; esac
  [ -e "$BACKUP_DIR/$key" ] || { echo "${0##*/}: there is no $1" >&2; exit 1; }
  into=$2
  if [ "$into" = - ]; then cat "$BACKUP_DIR/$key"; return; fi
  case "$into" in .) into=./${key##*/} ;; */) [ -d "$BACKUP_DIR/$key" ] || into=$into${key##*/} ;; esac
  if [ -d "$BACKUP_DIR/$key" ]; then
    mkdir -p "$into"
    cp -R "$BACKUP_DIR/$key/." "$into"
  else
    cp "$BACKUP_DIR/$key" "$into"
  fi
}
"""

_AWS: Final = r"""
[ "${1-}" = s3 ] || refuse "$@"
case "${2-}" in cp | sync) ;; *) refuse "$@" ;; esac
shift 2
source= into=
while [ $# -gt 0 ]; do
  case "$1" in
    --endpoint-url | --profile | --region) shift ;;
    --*) ;;
    *) if [ -z "$source" ]; then source=$1; else into=$1; fi ;;
  esac
  shift
done
[ -n "$into" ] || refuse "no destination"
give "$source" "$into"
"""
_GCLOUD: Final = r"""
[ "${1-} ${2-}" = "storage cp" ] || refuse "$@"
shift 2
while [ $# -gt 2 ]; do case "$1" in --*) shift ;; *) refuse "$@" ;; esac; done
give "$1" "$2"
"""
_AZ: Final = r"""
[ "${1-} ${2-}" = "storage blob" ] || refuse "$@"
shift 3
name= into=
while [ $# -gt 0 ]; do
  case "$1" in
    --name | -n) name=$2; shift ;;
    --pattern) name=${2%'*'}; shift ;;
    --file | -f | --destination | -d) into=$2; shift ;;
    --container-name | -c | --account-name) shift ;;
    --*) ;;
    *) refuse "$@" ;;
  esac
  shift
done
give "$name" "$into"
"""
_SCP: Final = r"""
while [ $# -gt 2 ]; do
  case "$1" in -P | -i | -o | -F | -J) shift ;; -*) ;; *) refuse "$@" ;; esac
  shift
done
case "$1" in "["* | *@"["*) path=${1#*]:} ;; *) path=${1#*:} ;; esac
# A backslash protects a character from the far end.
give "$(printf %s "$path" | sed 's/\\\(.\)/\1/g')" "$2"
"""
_CURL: Final = r"""
address= into=
while [ $# -gt 0 ]; do
  case "$1" in
    --output | -o) into=$2; shift ;;
    --user | -u | --header | -H | --retry) shift ;;
    -*) ;;
    *) address=$1 ;;
  esac
  shift
done
[ -n "$into" ] || refuse "without --output"
# %XX of the address become the bytes they stand for.
give "$(printf %b "$(printf %s "$address" | sed 's/\\/\\\\/g; s/%\([0-9A-Fa-f][0-9A-Fa-f]\)/\\x\1/g')")" "$into"
"""
_RCLONE: Final = r"""
case "${1-}" in copy | copyto | sync) ;; *) refuse "$@" ;; esac
shift
source= into=
while [ $# -gt 0 ]; do
  case "$1" in
    --config | --transfers) shift ;;
    --*) ;;
    *) if [ -z "$source" ]; then source=$1; else into=$1; fi ;;
  esac
  shift
done
give "$source" "$into"
"""

#: Name of the program → the script that stands in for it; it reads ``BACKUP_DIR`` and ``BACKUP_URL``.
STAND_INS: Final[Mapping[str, str]] = {
    "aws": _GIVE + _AWS, "gcloud": _GIVE + _GCLOUD, "az": _GIVE + _AZ, "scp": _GIVE + _SCP, "curl": _GIVE + _CURL,
    "rclone": _GIVE + _RCLONE,
}  # fmt: skip
