#!/bin/sh
# Keeps an Okta configuration on a server, has it validated, and deletes it again.
#
#   CREDENCE_URL=… DD_API_KEY=… DD_APP_KEY=… examples/configuration.sh acme.okta.com token.txt
#
# CREDENCE names the command where it is not "credence". Exit statuses tell the answers apart:
# 0 valid, 1 invalid or refused, 2 wrong usage, 3 could not tell.
set -eu
domain=$1
token_file=$2
credence=${CREDENCE:-credence}

# Nothing is stored unless the credentials prove valid: with "set -e" the script ends here otherwise.
created=$($credence configs create okta --domain "$domain" --name "Acme" --instance example \
  --api-token-file "$token_file" --json)
id=$(printf '%s' "$created" | sed -n 's/.*"id":"\([0-9a-f-]*\)".*/\1/p')

$credence configs list --source okta
$credence configs update "$id" --name "Acme, production" --require devices
$credence configs update "$id" --disable
$credence configs update "$id" --enable

status=0
$credence configs validate "$id" --timeout 120 || status=$?
case $status in
0) echo "$id is valid" ;;
1) echo "$id needs new credentials" ;;
*) echo "nobody could tell: ask again later" ;;
esac

$credence configs delete "$id"
exit $status
