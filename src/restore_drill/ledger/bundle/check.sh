#!/bin/sh
# Check an exported ledger without the program that wrote it: a POSIX shell, jq, openssl (3.0 or later) and coreutils.
#   sh check.sh PUBLIC-KEY.pub [another.pub ...]
# Take the public key from whoever runs the drills, not from this directory: what is forged comes with a forged key.
# HEAD=SEQUENCE:DIGEST (as every report prints it) before the command checks that this very entry is there.
set -u
here=$(dirname "$0")
for program in jq openssl sha256sum base64 split; do
    command -v "$program" > /dev/null || { echo "cannot check: $program is not installed" >&2; exit 75; }
done
[ -r "$here/entries.jsonl" ] || { echo "cannot check: entries.jsonl cannot be read" >&2; exit 75; }
work=$(mktemp -d) || exit 75
trap 'rm -rf "$work"' EXIT
bad() { echo "BROKEN: entry $expected: $1"; exit 1; }

expected=$(jq -r .first "$here/period.json") || exit 75
previous=$(jq -r .previous "$here/period.json") || exit 75
ledger=$(jq -r .ledger "$here/period.json") || exit 75
signed=0
unsigned=0
: > "$work/runs"
split -l 1 -a 8 "$here/entries.jsonl" "$work/line." || exit 75
for line in "$work"/line.*; do
    # 1. The payload, and what of it says where the entry stands.
    jq -e -j .payload "$line" 2> /dev/null | base64 -d > "$work/payload" 2> /dev/null || : > "$work/payload"
    [ -s "$work/payload" ] || bad "edited: it is no envelope"
    part=$(jq -r '.predicate.restoreDrill
        | [.sequence, .previous, .ledger, .kind, .evidence.run.ended, .run] | map(tostring) | @tsv' \
        "$work/payload" 2> /dev/null)
    [ -n "$part" ] || bad "edited: its payload is no statement"
    # 2. The signature: over "DSSEv1", the type and the payload, each with its length before it.
    size=$(wc -c < "$work/payload")
    { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$size"; cat "$work/payload"; } > "$work/message"
    if [ "$(jq -r '.signatures | length' "$line" 2> /dev/null)" = 0 ]; then
        [ "$signed" -eq 0 ] || bad "unsigned: nobody signed it, among entries that are signed"
        unsigned=$((unsigned + 1))
    else
        [ $# -gt 0 ] || { echo "cannot check: entries are signed, and no public key was given" >&2; exit 75; }
        jq -j '.signatures[0].sig' "$line" 2> /dev/null | base64 -d > "$work/signature" 2> /dev/null
        verified=no
        for key in "$@"; do
            openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$work/message" -sigfile "$work/signature" \
                > /dev/null 2>&1 && verified=yes
        done
        [ "$verified" = yes ] || bad "edited, or signed by another key: no public key verifies its signature"
        signed=$((signed + 1))
    fi
    # 3. The chain: numbers without a gap, each entry after the one whose digest it names, all of one ledger.
    tab=$(printf '\t')
    [ "${part%%"$tab"*}" = "$expected" ] || bad "deleted, reordered or replayed: entry ${part%%"$tab"*} stands in its place"
    rest=${part#*"$tab"}
    [ "${rest%%"$tab"*}" = "$previous" ] || bad "the entry before it is not the one that it was chained to"
    rest=${rest#*"$tab"}
    [ "${rest%%"$tab"*}" = "$ledger" ] || bad "replayed: it belongs to another ledger"
    rest=${rest#*"$tab"}
    kind=${rest%%"$tab"*}
    rest=${rest#*"$tab"}
    ended=${rest%%"$tab"*}
    run=${rest#*"$tab"}
    if [ "$kind" = run ]; then
        grep -qxF -e "$run" "$work/runs" && bad "replayed: its run was recorded before"
        # A run that was taken for crashed may have recorded itself later.
        [ "$ended" = crashed ] || printf '%s\n' "$run" >> "$work/runs"
    fi
    previous=$(tr -d '\n' < "$line" | sha256sum | cut -d ' ' -f 1)
    [ "${HEAD:-}" = "$expected:$previous" ] && head_found=yes
    last="$expected:$previous"
    expected=$((expected + 1))
done
# 4. The end: the last entry is the one that is known from here, and from elsewhere.
[ "$last" = "$(jq -r '"\(.sequence):\(.digest)"' "$here/head.json")" ] || bad "truncated: head.json knows another last entry"
[ -z "${HEAD:-}" ] || [ "${head_found:-no}" = yes ] || bad "truncated or replaced: the entry $HEAD is not here"
[ $# -eq 0 ] || [ "$signed" -gt 0 ] || { echo "BROKEN: none of these entries is signed"; exit 1; }
[ "$unsigned" -eq 0 ] || echo "$unsigned ENTRIES ARE NOT SIGNED: nobody answers for them"
echo "good: $((signed + unsigned)) entries, $signed signed; the last one is $last"
