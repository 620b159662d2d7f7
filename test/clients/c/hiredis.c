/* hiredis, as a C program uses it: no HELLO, so RESP2 (hiredis before 1.0
 * crashes on RESP3's types). */
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { SECONDS = 60, MEGABYTE = 1 << 20 };

static struct { char host[256], password[256]; int port; } address;
static redisContext *redis, *other; /* other: another part of the application */
static char why[512];               /* what went wrong in the behaviour at hand */

static bool fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return false;
}

static const char *key(const char *name) {
    static char keys[4][256]; /* a command names a few at most */
    static int next;
    char *k = keys[next++ % 4];
    snprintf(k, sizeof keys[0], "%s:%s", getenv("PREFIX"), name);
    return k;
}

static const char *text(const redisReply *r) {
    return r == NULL ? "(no reply)" : r->type == REDIS_REPLY_NIL ? "(nil)" : r->str != NULL ? r->str : "(not text)";
}

/* The is… functions take a reply over, so a claim is one expression. */
static bool is_text(redisReply *r, const char *want) {
    bool good = r != NULL && r->type != REDIS_REPLY_ERROR && strcmp(text(r), want) == 0;
    if (!good) fail("got %s, want %s", text(r), want);
    freeReplyObject(r);
    return good;
}

static bool is_number(redisReply *r, long long low, long long high) {
    bool good = r != NULL && r->type == REDIS_REPLY_INTEGER && r->integer >= low && r->integer <= high;
    if (!good) fail("got %s (%lld), want %lld to %lld", text(r), r == NULL ? 0 : r->integer, low, high);
    freeReplyObject(r);
    return good;
}

static bool is_type(redisReply *r, int type) {
    bool good = r != NULL && r->type == type;
    if (!good) fail("got %s of type %d, want type %d", text(r), r == NULL ? 0 : r->type, type);
    freeReplyObject(r);
    return good;
}

static bool is_error(redisReply *r, const char *want) {
    bool good = r != NULL && r->type == REDIS_REPLY_ERROR && strstr(r->str, want) != NULL;
    if (!good) fail("got %s, want an error with %s", text(r), want);
    freeReplyObject(r);
    return good;
}

/* is_list compares an array of strings. */
static bool is_list(redisReply *r, size_t n, const char **want) {
    bool good = r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements == n;
    if (!good) fail("got %s (%zu elements), want %zu", text(r), r == NULL ? 0 : r->elements, n);
    for (size_t i = 0; good && i < n; i++)
        if (strcmp(text(r->element[i]), want[i]) != 0)
            good = fail("element %zu: got %s, want %s", i, text(r->element[i]), want[i]);
    freeReplyObject(r);
    return good;
}

static redisReply *read_reply(redisContext *c) {
    void *r = NULL;
    return redisGetReply(c, &r) == REDIS_OK ? r : NULL;
}

static bool send_now(redisContext *c) {
    for (int done = 0; !done;)
        if (redisBufferWrite(c, &done) != REDIS_OK) return fail("sending: %s", c->errstr);
    return true;
}

static redisContext *dial(void) {
    redisContext *c = redisConnect(address.host, address.port);
    if (c == NULL || c->err) {
        fprintf(stderr, "connecting: %s\n", c == NULL ? "no memory" : c->errstr);
        exit(1);
    }
    redisSetTimeout(c, (struct timeval){.tv_sec = SECONDS});
    return c;
}

static redisContext *login(void) {
    redisContext *c = dial();
    if (!is_text(redisCommand(c, "AUTH %s", address.password), "OK")) {
        fprintf(stderr, "AUTH: %s\n", why);
        exit(1);
    }
    return c;
}

static bool round_trip(const char *name, size_t size) {
    static char value[MEGABYTE];
    for (size_t i = 0; i < size; i++) value[i] = (char)i;
    if (!is_text(redisCommand(redis, "SET %s %b", key(name), value, size), "OK")) return false;
    redisReply *r = redisCommand(redis, "GET %s", key(name));
    bool same = r != NULL && r->type == REDIS_REPLY_STRING && (size_t)r->len == size && memcmp(r->str, value, size) == 0;
    freeReplyObject(r);
    return same || fail("the value came back changed");
}

static bool set_get(void) {
    return is_text(redisCommand(redis, "SET %s value", key("plain")), "OK") &&
           is_text(redisCommand(redis, "GET %s", key("plain")), "value") &&
           is_type(redisCommand(redis, "GET %s", key("absent")), REDIS_REPLY_NIL);
}

static bool binary_value(void) { return round_trip("binary", 256); }

static bool large_value(void) { return round_trip("large", MEGABYTE); }

static bool expire(void) {
    if (!is_text(redisCommand(redis, "SET %s value", key("mortal")), "OK") ||
        !is_number(redisCommand(redis, "TTL %s", key("mortal")), -1, -1) ||
        !is_number(redisCommand(redis, "EXPIRE %s 100", key("mortal")), 1, 1) ||
        !is_number(redisCommand(redis, "TTL %s", key("mortal")), 91, 100) ||
        !is_number(redisCommand(redis, "PEXPIRE %s 10", key("mortal")), 1, 1))
        return false;
    for (time_t end = time(NULL) + SECONDS; time(NULL) < end;)
        if (is_type(redisCommand(redis, "GET %s", key("mortal")), REDIS_REPLY_NIL)) return true;
    return fail("it never expired");
}

static bool pipeline(void) {
    for (int i = 0; i < 100; i++) redisAppendCommand(redis, "INCR %s", key("counter"));
    for (int i = 1; i <= 100; i++)
        if (!is_number(read_reply(redis), i, i)) return false;
    return true;
}

static bool transaction(void) {
    redisAppendCommand(redis, "MULTI");
    redisAppendCommand(redis, "SET %s 41", key("tx"));
    redisAppendCommand(redis, "INCR %s", key("tx"));
    redisAppendCommand(redis, "GET %s", key("tx"));
    redisAppendCommand(redis, "EXEC");
    if (!is_text(read_reply(redis), "OK") || !is_text(read_reply(redis), "QUEUED") ||
        !is_text(read_reply(redis), "QUEUED") || !is_text(read_reply(redis), "QUEUED"))
        return false;
    redisReply *r = read_reply(redis);
    bool good = r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements == 3 && strcmp(text(r->element[0]), "OK") == 0 &&
                r->element[1]->integer == 42 && strcmp(text(r->element[2]), "42") == 0;
    if (!good) fail("EXEC gave %s", text(r));
    freeReplyObject(r);
    return good;
}

static bool watch_abort(void) {
    return is_text(redisCommand(redis, "SET %s mine", key("watched")), "OK") &&
           is_text(redisCommand(redis, "WATCH %s", key("watched")), "OK") &&
           is_text(redisCommand(other, "SET %s theirs", key("watched")), "OK") &&
           is_text(redisCommand(redis, "MULTI"), "OK") &&
           is_text(redisCommand(redis, "SET %s lost", key("watched")), "QUEUED") &&
           is_type(redisCommand(redis, "EXEC"), REDIS_REPLY_NIL) &&
           is_text(redisCommand(redis, "GET %s", key("watched")), "theirs");
}

static bool pubsub(void) {
    redisContext *subscriber = login();
    redisReply *r = redisCommand(subscriber, "SUBSCRIBE %s", key("news"));
    bool good = r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements == 3 && r->element[2]->integer == 1;
    if (!good) fail("SUBSCRIBE gave %s", text(r));
    freeReplyObject(r);
    good = good && is_number(redisCommand(redis, "PUBLISH %s hello", key("news")), 1, 1) &&
           is_list(read_reply(subscriber), 3, (const char *[]){"message", key("news"), "hello"});
    redisFree(subscriber);
    return good;
}

static bool blpop_woken(void) {
    redisAppendCommand(other, "BLPOP %s 15", key("queue"));
    if (!send_now(other)) return false;
    bool blocked = false;
    for (time_t end = time(NULL) + SECONDS; !blocked && time(NULL) < end;) {
        redisReply *r = redisCommand(redis, "INFO clients");
        blocked = strstr(text(r), "blocked_clients:1") != NULL;
        freeReplyObject(r);
    }
    return (blocked || fail("INFO never told of a blocked client")) &&
           is_number(redisCommand(redis, "RPUSH %s job", key("queue")), 0, 1) &&
           is_list(read_reply(other), 2, (const char *[]){key("queue"), "job"});
}

static bool blpop_timeout(void) {
    return is_type(redisCommand(redis, "BLPOP %s 0.1", key("empty")), REDIS_REPLY_NIL) &&
           is_text(redisCommand(redis, "PING"), "PONG");
}

static bool hash(void) {
    return is_number(redisCommand(redis, "HSET %s name n count 1", key("hash")), 2, 2) &&
           is_number(redisCommand(redis, "HINCRBY %s count 2", key("hash")), 3, 3) &&
           is_list(redisCommand(redis, "HGETALL %s", key("hash")), 4, (const char *[]){"name", "n", "count", "3"});
}

static bool zset(void) {
    return is_number(redisCommand(redis, "ZADD %s 1 a 2.5 b", key("zset")), 2, 2) &&
           is_list(redisCommand(redis, "ZRANGE %s 0 -1 WITHSCORES", key("zset")), 4, (const char *[]){"a", "1", "b", "2.5"}) &&
           is_number(redisCommand(redis, "ZRANK %s b", key("zset")), 1, 1);
}

static bool scan(void) {
    bool seen[200] = {false}; /* SCAN may name a key twice */
    int found = 0;
    for (int i = 0; i < 200; i++)
        if (!is_text(redisCommand(redis, "SET %s%d v", key("scan:"), i), "OK")) return false;
    char cursor[32] = "0";
    do {
        redisReply *r = redisCommand(redis, "SCAN %s MATCH %s* COUNT 50", cursor, key("scan:"));
        if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements != 2) return fail("SCAN gave %s", text(r));
        snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
        for (size_t i = 0; i < r->element[1]->elements; i++) {
            int n = atoi(strrchr(r->element[1]->element[i]->str, ':') + 1);
            if (n < 0 || n >= 200 || seen[n]) continue;
            seen[n] = true;
            found++;
        }
        freeReplyObject(r);
    } while (strcmp(cursor, "0") != 0);
    return found == 200 || fail("found %d of 200 keys", found);
}

static bool wrong_password(void) {
    redisContext *intruder = dial();
    bool good = is_error(redisCommand(intruder, "AUTH not-the-password"), "WRONGPASS") &&
                is_error(redisCommand(intruder, "GET %s", key("plain")), "NOAUTH");
    redisFree(intruder);
    return good;
}

/* hiredis never reconnects by itself, so what works here works on the
 * connection that was refused. */
static bool refused_command(void) {
    redisReply *r = redisCommand(redis, "CONFIG SET maxmemory 1");
    bool config = r != NULL && r->type == REDIS_REPLY_ERROR && (strstr(r->str, "NOPERM") || strstr(r->str, "unknown command"));
    if (!config) fail("CONFIG SET gave %s", text(r));
    freeReplyObject(r);
    return config && is_error(redisCommand(redis, "FLUSHALL"), "NOPERM") && round_trip("after refusal", 256);
}

static bool reconnect(void) {
    if (!is_text(redisCommand(redis, "SET %s value", key("kept")), "OK") ||
        !is_text(redisCommand(redis, "QUIT"), "OK"))
        return false;
    if (redisReconnect(redis) != REDIS_OK) return fail("reconnecting: %s", redis->errstr);
    return is_text(redisCommand(redis, "AUTH %s", address.password), "OK") &&
           is_text(redisCommand(redis, "GET %s", key("kept")), "value");
}

static const struct { const char *name; bool (*run)(void); } behaviours[] = {
    {"set-get", set_get},
    {"binary-value", binary_value},
    {"large-value", large_value},
    {"expire", expire},
    {"pipeline", pipeline},
    {"transaction", transaction},
    {"watch-abort", watch_abort},
    {"pubsub", pubsub},
    {"blpop-woken", blpop_woken},
    {"blpop-timeout", blpop_timeout},
    {"hash", hash},
    {"zset", zset},
    {"scan", scan},
    {"wrong-password", wrong_password},
    {"refused-command", refused_command},
    {"reconnect", reconnect},
};

static bool run(const char *name) {
    for (size_t i = 0; i < sizeof behaviours / sizeof *behaviours; i++)
        if (strcmp(behaviours[i].name, name) == 0) return behaviours[i].run();
    return fail("this client has no such behaviour");
}

static bool read_address(const char *url) {
    const char *colon = url == NULL ? NULL : strstr(url, "://");
    colon = colon == NULL ? NULL : strchr(colon + 3, ':'); /* the user's name is not needed */
    return colon != NULL && sscanf(colon, ":%255[^@]@%255[^:]:%d", address.password, address.host, &address.port) == 3;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!read_address(getenv("REDIS_URL"))) {
        fprintf(stderr, "REDIS_URL is not redis://[USER]:PASSWORD@HOST:PORT\n");
        return 1;
    }
    redis = login();
    other = login();
    int status = 0;
    for (int i = 1; i < argc; i++) {
        bool good = run(argv[i]);
        printf(good ? "ok %s\n" : "FAIL %s: %s\n", argv[i], why);
        if (!good) status = 1;
    }
    redisFree(redis);
    redisFree(other);
    return status;
}
