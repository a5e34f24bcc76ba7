"""What a shell runs inside the sandbox to make a server; arguments are its data directory, its program, its options."""

from __future__ import annotations

from typing import Final

#: Feeds an empty server the definitions of the system tables: what mariadb-install-db does, but for help texts, time
#: zones and the sys schema, which take most of its time. (One start with --skip-grant-tables would be shorter still,
#: but a server that was started so knows no events.)
MAKE_MARIADB: Final = """
set -e
data=$1 accounts=$1.accounts daemon=$2
shift 2
cat >"$accounts"
mkdir -p -m 700 "$data/mysql" "$data.none"
chmod 500 "$data.none"
for place in /usr/share/mysql /usr/share/mariadb /usr/local/share/mysql /usr/share/mariadb/mysql; do
  for name in mysql mariadb; do
    tables=$place/${name}_system_tables.sql rows=$place/${name}_system_tables_data.sql
    if test -r "$tables" && test -r "$rows" && grep -q global_priv "$tables"; then
      if { echo 'use mysql;'; cat "$tables" "$rows"; echo; cat "$accounts"; } |
        "$daemon" --no-defaults --bootstrap "$@" >"$data.log" 2>&1; then exit; fi
      tail -n 20 "$data.log" >&2
      exit 1
    fi
  done
done
rm -rf "$data"
mkdir -m 700 "$data"
mariadb-install-db --no-defaults --datadir="$data" --skip-test-db --auth-root-authentication-method=normal \\
  >"$data.log" 2>&1 ||
mysql_install_db --no-defaults --datadir="$data" >"$data.log" 2>&1 || { tail -n 20 "$data.log" >&2; exit 1; }
"$daemon" --no-defaults --bootstrap "$@" <"$accounts" >"$data.log" 2>&1 || { tail -n 20 "$data.log" >&2; exit 1; }
"""
MAKE_MYSQL: Final = """
set -e
data=$1
cat >"$data.init"
mkdir -p -m 700 "$data" "$data.none"
chmod 500 "$data.none"
"$2" --no-defaults --initialize-insecure --datadir="$data" >"$data.log" 2>&1 || { tail -n 20 "$data.log" >&2; exit 1; }
"""
TELL_VERSION: Final = '"$0" --no-defaults --version; "$1" --no-defaults --help | grep -c -e --sandbox || true'
