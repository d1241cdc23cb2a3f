# A private PostgreSQL cluster: own data folder, own user, Unix socket only. Sourced after common.sh.
pg_bin=/usr/lib/postgresql/15/bin
pg_data=$var/postgres
pg_socket=$run/postgres
pg_database="host=$pg_socket user=vistter dbname=vistter"

# PostgreSQL refuses to run as root: root runs it as the system user vistter, who need not be able to
# reach var/ (think of a checkout below /root). It is handed the opened folders, and knows them by
# their descriptors only.
pg_user=(env -C /)
[ "$(id -u)" != 0 ] || pg_user+=(setpriv --reuid=vistter --regid=vistter --init-groups --)

pg_folder() { # folder
    mkdir -p -m 700 "$1"
    [ "$(id -u)" != 0 ] || chown vistter: "$1"
}

pg_prepare() {
    if [ "$(id -u)" = 0 ] && ! id vistter >/dev/null 2>&1; then
        useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin vistter
    fi
    pg_folder "$pg_socket"
    [ -s "$pg_data/PG_VERSION" ] && return 0
    # Under another name until it is whole.
    rm -rf "$pg_data.new"
    pg_folder "$pg_data.new"
    "${pg_user[@]}" "$pg_bin/initdb" -D /proc/self/fd/8 -U vistter -A trust -E UTF8 --locale=C.UTF-8 \
        8<"$pg_data.new" >"$var/log/initdb.log" 2>&1 ||
        die "the database could not be made: $(tail -n 1 "$var/log/initdb.log")"
    mv -T "$pg_data.new" "$pg_data"
}

# PostgreSQL does not start over a postmaster.pid whose number another process has by now.
pg_forget_stranger() {
    local old name
    { read -r old <"$pg_data/postmaster.pid" && read -r name <"/proc/$old/comm"; } 2>/dev/null || return 0
    [ "$name" = postgres ] || rm -f "$pg_data/postmaster.pid"
}

# What a killed one leaves for a moment, its children and their memory, keeps the next one from starting.
pg_serves() {
    if ! alive postgres; then
        pg_forget_stranger
        start postgres "${pg_user[@]}" "$pg_bin/postgres" -D /proc/self/fd/8 -k /proc/self/fd/7 -h '' \
            8<"$pg_data" 7<"$pg_socket"
    fi
    "$pg_bin/pg_isready" -q -h "$pg_socket" -U vistter -d postgres
}

pg_start() {
    pg_prepare
    wait_until 20 "the database did not start; see $var/log/postgres.log" pg_serves
    "$pg_bin/psql" -qAt -h "$pg_socket" -U vistter -d postgres \
        -c "select 1 from pg_database where datname = 'vistter'" | grep -q 1 ||
        "$pg_bin/createdb" -h "$pg_socket" -U vistter vistter
}

pg_stop() { stop postgres; }
