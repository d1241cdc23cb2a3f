# A private PostgreSQL cluster: own data folder, own user, Unix socket only. Sourced after common.sh.
pg_bin=/usr/lib/postgresql/15/bin
pg_data=$var/postgres
pg_socket=$run/postgres
pg_database="host=$pg_socket user=vistter dbname=vistter"

# PostgreSQL refuses to run as root: root runs it as the system user vistter.
pg_as() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u vistter -- "$@"
    else
        "$@"
    fi
}

pg_prepare() {
    if [ "$(id -u)" = 0 ] && ! id vistter >/dev/null 2>&1; then
        useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin vistter
    fi
    mkdir -p "$pg_data" "$pg_socket"
    chmod 700 "$pg_data" "$pg_socket"
    if [ "$(id -u)" = 0 ]; then
        chown vistter: "$pg_data" "$pg_socket"
        pg_as test -x "$pg_data" ||
            die "the user vistter cannot reach $var; set VISTTER_VAR to a folder that other users may enter"
    fi
    [ -s "$pg_data/PG_VERSION" ] && return 0
    pg_as "$pg_bin/initdb" -D "$pg_data" -U vistter -A trust -E UTF8 --locale=C.UTF-8 >"$var/log/initdb.log" 2>&1 ||
        die "the database could not be made: $(tail -n 1 "$var/log/initdb.log")"
}

pg_start() {
    pg_prepare
    if [ "$(id -u)" = 0 ]; then
        start postgres runuser -u vistter -- "$pg_bin/postgres" -D "$pg_data" -k "$pg_socket" -h ''
    else
        start postgres "$pg_bin/postgres" -D "$pg_data" -k "$pg_socket" -h ''
    fi
    wait_until 20 "the database did not start; see $var/log/postgres.log" \
        "$pg_bin/pg_isready" -q -h "$pg_socket" -U vistter -d postgres
    "$pg_bin/psql" -qAt -h "$pg_socket" -U vistter -d postgres \
        -c "select 1 from pg_database where datname = 'vistter'" | grep -q 1 ||
        "$pg_bin/createdb" -h "$pg_socket" -U vistter vistter
}

# runuser passes signals on; INT asks PostgreSQL for a fast shutdown. The postmaster is ended by its
# own pid file where there is one.
pg_stop() {
    if [ -s "$pg_data/postmaster.pid" ]; then
        pg_as "$pg_bin/pg_ctl" -D "$pg_data" -m fast -w stop >/dev/null 2>&1 || true
    fi
    stop postgres INT
}
