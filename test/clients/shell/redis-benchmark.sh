#!/bin/bash
# redis-benchmark as a smoke run: many connections, pipelined, for a moment.
set -u -o pipefail
: "${REDIS_URL:?}"

benchmark() {
	local said
	said=$(timeout 300 redis-benchmark -u "$REDIS_URL" -n 2000 -c 20 -P 8 -q \
		-t ping_mbulk,ping_inline,set,get,incr,lpush,rpop,sadd,hset,zadd,mset 2>&1 | tr '\r' '\n') &&
		[ "$(grep -c 'requests per second, p50' <<<"$said")" = 11 ] || { echo "$said" | tail -5; return 1; }
}

status=0
for name in "$@"; do
	case $name in
	benchmark) why=$(benchmark) ;;
	*) why='this client has no such behaviour' && false ;;
	esac && echo "ok $name" || { status=1; echo "FAIL $name: ${why//$'\n'/ }"; }
done
exit "$status"
