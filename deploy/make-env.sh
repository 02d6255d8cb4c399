#!/bin/sh
# Writes .env from .env.example, with a secret of its own for each @secret@. One that is there stays.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo ".env is there already: it stays as it is" >&2
    exit 1
fi
umask 077
random() {
    od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'
}
while IFS= read -r line; do
    case $line in
        *=@secret@) printf '%s=%s\n' "${line%%=*}" "$(random)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done < .env.example > .env.new
mv .env.new .env
echo "wrote $(pwd)/.env, which you alone can read" >&2
