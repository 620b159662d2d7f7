package command

// A decision puts commands into a class, with the reason. clients.md section 4
// of the design gives the grounds at length.
type decision struct {
	class  Class
	barred bool // Refused only
	record int  // the number of the decision about it, in docs/decisions
	reason string
	names  string
}

// decisions, in the order of the classes.
var decisions = []decision{
	{Shared, false, 40, "strings: one reply, no state", `
		append decr decrby get getdel getex getrange getset incr incrby incrbyfloat lcs mget mset msetnx psetex
		set setex setnx setrange strlen substr delex digest msetex delifeq`},
	{Shared, false, 40, "bitmaps and HyperLogLog: one reply, no state", `
		bitcount bitfield bitfield_ro bitop bitpos getbit setbit pfadd pfcount pfmerge`},
	{Shared, false, 40, "hashes: one reply, no state", `
		hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals
		hexpire hexpireat hexpiretime hpexpire hpexpireat hpexpiretime hpersist hpttl httl hgetdel hgetex hsetex`},
	{Shared, false, 40, "lists without waiting: one reply, no state", `
		lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset ltrim rpop rpoplpush rpush rpushx`},
	{Shared, false, 40, "sets: one reply, no state", `
		sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop srandmember
		srem sscan sunion sunionstore`},
	{Shared, false, 40, "sorted sets without waiting, geo: one reply, no state", `
		zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin
		zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank
		zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore
		geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch
		geosearchstore`},
	{Shared, false, 40, "streams: one reply, no state; XREAD and XREADGROUP wait only with BLOCK", `
		xack xackdel xadd xautoclaim xclaim xdel xdelex xgroup xgroup|create xgroup|createconsumer
		xgroup|delconsumer xgroup|destroy xgroup|help xgroup|setid xinfo xinfo|consumers xinfo|groups xinfo|help
		xinfo|stream xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim`},
	{Shared, false, 40, "vector sets: one reply, no state (the ACL decides)", `
		vadd vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrange vrem vsetattr vsim`},
	{Shared, false, 40, "keys: one reply; a SCAN cursor is the dictionary's, not the connection's", `
		copy del exists expire expireat expiretime keys object object|encoding object|freq object|help object|idletime
		object|refcount persist pexpire pexpireat pexpiretime pttl randomkey rename renamenx scan sort sort_ro touch ttl
		type unlink dbsize flushdb memory memory|usage`},
	{Shared, false, 40, "scripts leave nothing on their connection: SELECT and setresp end with them, HELLO and CLIENT REPLY are refused in them", `
		eval eval_ro evalsha evalsha_ro fcall fcall_ro script script|exists script|load script|show function
		function|list function|stats`},
	{Shared, false, 40, "publishing and asking about channels is no subscription", `
		publish spublish pubsub pubsub|channels pubsub|help pubsub|numpat pubsub|numsub pubsub|shardchannels
		pubsub|shardnumsub`},
	{Shared, false, 40, "health checks and stream synchronisers: the answer must be the engine's, in its place", `
		ping echo time info`},
	{Shared, false, 40, "the engine's own answer, constant by version", `
		command command|count command|docs command|getkeys command|getkeysandflags command|help command|info
		command|list`},
	{Shared, false, 40, "about the connection; whatever is new in it is unknown", `client client|help`},

	{Pinned, false, 41, "waits for data: all behind it on the connection would wait too", `
		blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin`},
	{Pinned, false, 41, "looks at its own connection's last write, and waits", `wait waitaof`},
	{Pinned, false, 40, "opens a transaction on the connection (a whole block in hand may go as one unit)", `multi watch`},
	{Pinned, false, 41, "changes what the connection receives, and how many replies a command has", `
		subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe client|reply`},
	{Pinned, false, 41, "state of the connection that the engine keeps", `
		client|tracking client|caching client|no-touch client|import-source`},

	{Local, false, 30, "identity, protocol and database of the session", `auth hello select reset quit`},
	{Local, false, 30, "without an open MULTI or WATCH there is nothing to ask the engine; with one, goes where the block goes", `
		exec discard unwatch`},
	{Local, false, 30, "about the session, not about the lane", `
		client|getname client|getredir client|id client|info client|list client|setinfo client|setname
		client|trackinginfo`},
	{Local, false, 30, "clients ask at connect and some take a refusal for fatal; without effect here", `
		client|capa client|no-evict client|maint_notifications`},
	{Local, false, 30, "CONFIG is renamed away on the engine; clients read a few settings, which are fixed by policy", `config|get`},
	{Local, false, 30, "ACL is renamed away on the engine; the session knows its user", `acl|whoami`},
	{Local, false, 30, "topology of the cache hosts is not the application's: standalone answers until there is a cluster mode", `
		asking cluster cluster|count-failure-reports cluster|countkeysinslot cluster|getkeysinslot cluster|help
		cluster|info cluster|keyslot cluster|links cluster|myid cluster|myshardid cluster|nodes cluster|replicas
		cluster|shards cluster|slaves cluster|slot-stats cluster|slots cluster|getslotmigrations readonly readwrite role`},

	{Refused, true, 30, "turns the connection into an endless stream of others' commands or of all data", `
		monitor psync replconf sync`},
	{Refused, true, 30, "stops the engine, or a client of it", `
		client|pause debug failover pfdebug pfselftest script|debug shutdown`},
	{Refused, true, 30, "sends the data to another server", `replicaof slaveof`},
	{Refused, true, 30, "writes the data to a disk, or tells when", `bgrewriteaof bgsave lastsave save`},
	{Refused, true, 17, "changes the engine's configuration or users", `
		config config|help config|resetstat config|rewrite config|set
		acl acl|cat acl|deluser acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|load acl|log acl|save
		acl|setuser acl|users`},
	{Refused, true, 30, "loads code into the engine", `module module|help module|list module|load module|loadex module|unload`},
	{Refused, true, 30, "changes the cluster, or lists all its keys", `
		cluster|addslots cluster|addslotsrange cluster|bumpepoch cluster|delslots cluster|delslotsrange
		cluster|failover cluster|flushslots cluster|flushslot cluster|forget cluster|meet cluster|replicate
		cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot cluster|migrateslots
		cluster|cancelslotmigrations cluster|migration cluster|syncslots clusterscan`},
	{Refused, true, 30, "shows arguments of commands, which hold data", `
		slowlog slowlog|get slowlog|help slowlog|len slowlog|reset
		commandlog commandlog|get commandlog|help commandlog|len commandlog|reset
		latency latency|doctor latency|graph latency|help latency|histogram latency|history latency|latest latency|reset`},
	{Refused, true, 11, "empties or exchanges databases under other sessions", `flushall swapdb`},
	{Refused, false, 2, "other clients are not the application's", `client|kill client|unblock client|unpause`},
	{Refused, false, 2, "internal encodings out of and into the engine, and to other servers", `
		dump migrate restore restore-asking`},
	{Refused, false, 2, "takes a key from one database to another behind the back of who uses it there; COPY and DEL do the same", `move`},
	{Refused, false, 2, "deletes what a cluster's slots hold, and there is no cluster", `trimslots`},
	{Refused, false, 12, "changes code that all sessions share", `
		function|delete function|dump function|flush function|help function|kill function|load function|restore
		script|flush script|help script|kill`},
	{Refused, false, 2, "of no use to an application, or about the allocator", `
		lolwut memory|doctor memory|help memory|malloc-stats memory|purge memory|stats`},
}

// scripted are those whose effect outlives their connection and not the engine.
const scripted = "eval eval_ro evalsha evalsha_ro fcall fcall_ro function|load script|exists script|load"

// mayBlock are the shared commands that wait if asked to (see Blocks).
const mayBlock = "xread xreadgroup"

// ahead are commands of engines that were not at hand when facts/ was
// written, from their documentation; with the ACL categories, where those decide.
var ahead = []struct{ since, categories, names string }{
	{"redis 8.2", "@write @stream", "xackdel xdelex"},
	{"redis 8.2", "", "vrange"},
	{"redis 8.4", "@write @string", "delex msetex"},
	{"redis 8.4", "@read @string", "digest"},
	{"redis 8.4", "", "cluster|migration cluster|syncslots trimslots"},
	{"redis (announced)", "", "client|maint_notifications"},
	{"valkey 9.0", "@write @hash", "hexpire hexpireat hpexpire hpexpireat hpersist hgetex hsetex"},
	{"valkey 9.0", "@read @hash", "hexpiretime hpexpiretime hpttl httl"},
	{"valkey 9.0", "@write @string", "delifeq"},
	{"valkey 9.0", "", "cluster|getslotmigrations cluster|migrateslots cluster|cancelslotmigrations cluster|flushslot"},
	{"valkey 9.1", "@write", "msetex hgetdel"},
	{"valkey 9.1", "", "clusterscan"},
}
