#!/bin/sh
# Bring the files that infra.cluster.restore laid out to their moment, for nobody but us; fence every writer
# of before; stop. As the account that the files belong to, in the image of the server.
set -eu

if [ ! -f "$PGDATA/incarnation.sql" ]; then
    echo "recover: nothing is laid out in $PGDATA: name RESTORE_TO" >&2
    exit 1
fi
# no address is listened on; the socket's folder is ours alone
sockets=$(mktemp -d)
trap 'pg_ctl --pgdata "$PGDATA" --mode fast stop >/dev/null 2>&1 || true; rm -rf "$sockets"' EXIT
pg_ctl --pgdata "$PGDATA" --timeout 14400 --wait start --options \
    "-c config_file=${POSTGRES_CONF:-/etc/ticklake/postgres.conf} -c listen_addresses= -c unix_socket_directories=$sockets"
# pg_ctl is content with a server that recovers and lets nobody in
left=14400
until pg_isready --quiet --host "$sockets"; do
    if ! pg_ctl --pgdata "$PGDATA" status >/dev/null || [ "$left" -eq 0 ]; then
        echo "recover: the moment was not reached: see the server's log above" >&2
        exit 1
    fi
    left=$((left - 1))
    sleep 1
done
psql --no-psqlrc --quiet --tuples-only --set ON_ERROR_STOP=1 --host "$sockets" \
    --username "${POSTGRES_USER:-postgres}" --dbname ticklake --file "$PGDATA/incarnation.sql"
pg_ctl --pgdata "$PGDATA" --timeout 600 --mode fast --wait stop
mv "$PGDATA/postgresql.auto.own" "$PGDATA/postgresql.auto.conf"
rm "$PGDATA/incarnation.sql"
echo "recovered: start the database and the rest again, then: ticklake verify"
