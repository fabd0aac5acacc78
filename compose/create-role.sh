#!/bin/sh
# Run once by the postgres image, on an empty volume. Rollcall's own role is no superuser; its database is closed to everyone else.
set -eu
psql --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 <<'SQL'
\set password `cat /run/secrets/rollcall_password`
CREATE ROLE rollcall LOGIN CREATEROLE CREATEDB PASSWORD :'password';
CREATE DATABASE rollcall OWNER rollcall;
REVOKE ALL ON DATABASE rollcall, postgres, template1 FROM PUBLIC;
SQL
