#!/bin/sh
# At the first start of the TimescaleDB image: an owner and a database for each who keeps data here.
# `ticklake` makes roles and databases of its own (CREATEROLE, CREATEDB) and reads the server's counters.
set -eu

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set ticklake="$TICKLAKE_DB_PASSWORD" \
    --set prefect="$PREFECT_DB_PASSWORD" \
    --set mlflow="$MLFLOW_DB_PASSWORD" \
    --set operator="$OPERATOR_PASSWORD" \
    --set backup="$BACKUP_PASSWORD" <<'SQL'
CREATE ROLE ticklake LOGIN CREATEDB CREATEROLE PASSWORD :'ticklake';
GRANT pg_monitor, pg_checkpoint, pg_signal_backend TO ticklake;
CREATE ROLE market_operator LOGIN PASSWORD :'operator';
GRANT ticklake TO market_operator;
CREATE ROLE backup LOGIN REPLICATION PASSWORD :'backup';
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE DATABASE ticklake OWNER ticklake;
CREATE DATABASE prefect OWNER prefect TEMPLATE template0;
CREATE DATABASE mlflow OWNER mlflow TEMPLATE template0;
\connect ticklake
CREATE EXTENSION IF NOT EXISTS timescaledb;
SQL
