#!/bin/sh
# Makes deploy/secrets: a password for the database, in the forms that those who need it read.
# What is there already stays.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
if [ ! -e secrets/database_password ]; then
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >secrets/database_password
fi
password=$(cat secrets/database_password)
# The folder is its owner's alone; within it, containers read as users of their own.
[ -e secrets/userlist.txt ] || printf '"textgrad" "%s"\n' "$password" >secrets/userlist.txt
if [ ! -e secrets/replica.env ]; then
    printf 'TEXTGRAD_MCP_DATABASE_PASSWORD=%s\n' "$password" >secrets/replica.env
fi
chmod 644 secrets/userlist.txt secrets/database_password
chmod 600 secrets/replica.env
