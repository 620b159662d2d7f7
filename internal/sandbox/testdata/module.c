// A module that no engine loads: what runs of it runs while the file is being
// mapped, before the engine can say no.
#include <unistd.h>

__attribute__((constructor)) static void ran(void) {
	if (write(1, "the constructor ran\n", 20) != 20) _exit(1);
}

int RedisModule_OnLoad(void *ctx, void **argv, int argc) {
	(void)ctx, (void)argv, (void)argc;
	return 1; // REDISMODULE_ERR
}
