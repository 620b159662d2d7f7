/* Holds a connection of hiredis in a state; see ../comeback_test.go. The library doesn't
 * connect again by itself: its application does, with redisReconnect or anew. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char host[64], password[128];
static const char *key;
static int port;
static redisContext *c;

static void say(const char *text) { printf("%s\n", text); fflush(stdout); }

static void next_line(void) {
	char line[256];
	if (!fgets(line, sizeof line, stdin)) exit(0);
}

/* good ends a connection that failed, and says whether a reply is there and no error. */
static int good(redisReply *r) {
	int ok = r && r->type != REDIS_REPLY_ERROR;
	if (!ok) {
		printf("err %s\n", r ? r->str : c->errstr);
		fflush(stdout);
	}
	if (r) freeReplyObject(r);
	if (c->err) { redisFree(c); c = NULL; }
	return ok;
}

static int connected(void) {
	if (c) return 1;
	c = redisConnect(host, port);
	if (!c) exit(1);
	if (c->err) {
		printf("err %s\n", c->errstr);
		fflush(stdout);
		redisFree(c);
		c = NULL;
		return 0;
	}
	return good(redisCommand(c, "AUTH %s", password));
}

static int command(void) {
	next_line();
	return connected() && good(redisCommand(c, "SET %s v", key)) && good(redisCommand(c, "GET %s", key));
}

static int blocked(void) { return connected() && good(redisCommand(c, "BLPOP %s 0", key)); }

static int subscribed(void) {
	redisReply *r;
	if (!connected() || !good(redisCommand(c, "SUBSCRIBE %s", key))) return 0;
	while (redisGetReply(c, (void **)&r) == REDIS_OK) {
		freeReplyObject(r);
		say("ok");
	}
	return good(NULL);
}

static int transaction(void) {
	next_line();
	if (!connected() || !good(redisCommand(c, "WATCH %s", key))) return 0;
	say("watched");
	next_line();
	if (!good(redisCommand(c, "MULTI")) || !good(redisCommand(c, "SET %s v", key))) return 0;
	return good(redisCommand(c, "EXEC"));
}

int main(int argc, char **argv) {
	static const struct { const char *name; int (*go)(void); } states[] = {
		{"command", command}, {"blocked", blocked}, {"subscribed", subscribed}, {"transaction", transaction}};
	if (argc != 3 || !(key = getenv("KEY")) || !getenv("REDIS_URL") ||
	    sscanf(getenv("REDIS_URL"), "redis://:%127[^@]@%63[^:]:%d", password, host, &port) != 3)
		return 2;
	for (unsigned i = 0; i < sizeof states / sizeof *states; i++)
		while (!strcmp(argv[2], states[i].name)) {
			if (states[i].go()) say("ok");
			else if (i == 1 || i == 2) usleep(100000);
		}
	return 2;
}
