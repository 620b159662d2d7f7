#!/bin/bash
# redis-cli, as a shell script uses it: a connection for each call, sessions
# fed through a pipe where a behaviour needs one. PROTOCOL=3 asks for RESP3.
set -u -o pipefail
: "${REDIS_URL:?}" "${PREFIX:?}"

readonly seconds=60 # the longest that one call or one answer may take
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

client=(timeout "$seconds" redis-cli --no-auth-warning)
[ "${PROTOCOL:-2}" = 3 ] && client+=(-3)

cli() { "${client[@]}" -u "$REDIS_URL" -e "$@"; }
key() { printf '%s:%s' "$PREFIX" "$1"; }

flat() { cli "$@" | tr ' ' '\n'; } # in RESP3 redis-cli writes a pair to a line

# is checks an answer: is WANT COMMAND...
is() {
	local got
	got=$("${@:2}" 2>&1)
	[ "$got" = "$1" ] || { echo "${*:2:3}: got ${got:0:200}, want $1"; return 1; }
}

# A session is a redis-cli that stays connected. Its pipes are kept under names
# of their own: bash forgets a coprocess's when it has ended, read or not.
open_session() {
	coproc SESSION { exec "${client[@]}" -u "$REDIS_URL" "$@" 2>&1; }
	session=$SESSION_PID
	exec {ear}<&"${SESSION[0]}" {mouth}>&"${SESSION[1]}"
}
say() { printf '%s\n' "$@" >&"$mouth"; }
hear() { # hear WANT...: the session's next lines
	local want got
	for want in "$@"; do
		read -r -t "$seconds" got <&"$ear" || { echo "the session said nothing, want $want"; return 1; }
		[ "$got" = "$want" ] || { echo "the session said ${got:0:200}, want $want"; return 1; }
	done
}
close_session() {
	exec {ear}<&- {mouth}>&-
	kill "$session"
	wait "$session"
} 2>/dev/null

round_trip() { # round_trip NAME FILE
	is OK cli -x set "$(key "$1")" <"$2" || return
	cli get "$(key "$1")" >"$scratch/got" || return
	{ cat "$2"; echo; } | cmp - "$scratch/got" # redis-cli ends a reply with a newline
}

every_byte() { printf '%b' "$(printf '\\x%02x' {0..255})"; }

set_get() {
	is OK cli set "$(key plain)" value && is value cli get "$(key plain)" && is '' cli get "$(key absent)"
}

binary_value() { every_byte >"$scratch/value" && round_trip binary "$scratch/value"; }

large_value() {
	every_byte >"$scratch/value"
	for _ in {1..12}; do # doubles 256 bytes to 1 MiB
		cat "$scratch/value" "$scratch/value" >"$scratch/double" && mv "$scratch/double" "$scratch/value"
	done
	round_trip large "$scratch/value"
}

expire() {
	is OK cli set "$(key mortal)" value && is -1 cli ttl "$(key mortal)" && is 1 cli expire "$(key mortal)" 100 || return
	local left end=$((SECONDS + seconds))
	left=$(cli ttl "$(key mortal)")
	((left > 90 && left <= 100)) || { echo "TTL $left"; return 1; }
	is 1 cli pexpire "$(key mortal)" 10 || return
	until is '' cli get "$(key mortal)" >/dev/null; do
		((SECONDS < end)) || { echo 'it never expired'; return 1; }
	done
}

pipeline() { # --pipe sends all of it at once, inline commands here, and closes with an ECHO of its own
	local said
	said=$(for _ in {1..100}; do printf 'INCR %s\r\n' "$(key counter)"; done | cli --pipe)
	[[ $said == *'errors: 0, replies: 100'* ]] || { echo "--pipe said $said"; return 1; }
	is 100 cli get "$(key counter)"
}

transaction() {
	local replies=$'OK\nQUEUED\nQUEUED\nQUEUED\nOK\n42\n42'
	is "$replies" cli <<<"MULTI
SET $(key tx) 41
INCR $(key tx)
GET $(key tx)
EXEC"
}

watch_abort() {
	is OK cli set "$(key watched)" mine || return
	open_session
	say "WATCH $(key watched)" && hear OK && is OK cli set "$(key watched)" theirs &&
		say MULTI "SET $(key watched) lost" EXEC "GET $(key watched)" && hear OK QUEUED '' theirs
	local result=$?
	close_session
	return "$result"
}

pubsub() {
	open_session subscribe "$(key news)"
	hear subscribe "$(key news)" 1 && is 1 cli publish "$(key news)" hello && hear message "$(key news)" hello
	local result=$?
	close_session
	return "$result"
}

blpop_woken() {
	open_session blpop "$(key queue)" 15
	local result=0 end=$((SECONDS + seconds))
	until [[ $(cli info clients) == *blocked_clients:1* ]]; do
		((SECONDS < end)) || { echo 'INFO never told of a blocked client'; result=1; break; }
	done
	((result)) || { is 1 cli rpush "$(key queue)" job && hear "$(key queue)" job; } || result=1
	close_session
	return "$result"
}

blpop_timeout() { is '' cli blpop "$(key empty)" 0.1; }

hash() {
	is 2 cli hset "$(key hash)" name n count 1 && is 3 cli hincrby "$(key hash)" count 2 &&
		is $'name\nn\ncount\n3' flat hgetall "$(key hash)"
}

zset() {
	is 2 cli zadd "$(key zset)" 1 a 2.5 b && is 1 cli zrank "$(key zset)" b &&
		is $'a\n1\nb\n2.5' flat zrange "$(key zset)" 0 -1 withscores
}

scanned() { cli --scan --pattern "$(key 'scan:*')" | sort -u; }

scan() {
	local names
	names=$(for i in {1..200}; do key "scan:$i"; echo; done | sort)
	while read -r name; do echo "SET $name v"; done <<<"$names" | cli >/dev/null || return
	is "$names" scanned
}

wrong_password() {
	local said
	said=$("${client[@]}" -u "${REDIS_URL/:*@/://:not-the-password@}" get "$(key plain)" 2>&1)
	[[ $said == *WRONGPASS*NOAUTH* ]] || { echo "a wrong password: $said"; return 1; }
}

refused_command() {
	local replies
	replies=$("${client[@]}" -u "$REDIS_URL" <<<'CLIENT ID
CONFIG SET maxmemory 1
FLUSHALL
CLIENT ID' | grep .)
	mapfile -t replies <<<"$replies"
	[[ ${replies[1]} == *NOPERM* || ${replies[1]} == *'unknown command'* ]] || { echo "CONFIG SET gave ${replies[1]}"; return 1; }
	[[ ${replies[2]} == *NOPERM* ]] || { echo "FLUSHALL gave ${replies[2]}"; return 1; }
	[ "${replies[0]}" = "${replies[3]}" ] || { echo 'another connection'; return 1; }
}

reconnect() { is OK cli set "$(key kept)" value && is value cli get "$(key kept)"; }

status=0
for name in "$@"; do
	case $name in
	set-get | binary-value | large-value | expire | pipeline | transaction | watch-abort | pubsub | blpop-woken | \
		blpop-timeout | hash | zset | scan | wrong-password | refused-command | reconnect)
		"${name//-/_}" >"$scratch/why"
		;;
	*) echo 'this client has no such behaviour' >"$scratch/why" && false ;;
	esac && echo "ok $name" || { status=1; echo "FAIL $name: $(tr '\n' ' ' <"$scratch/why")"; }
done
exit "$status"
