<?php
// Does with a PHP library what applications do with it; see ../libraries_test.go.
// Ends with 1 if that failed.

use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Container\Container;
use Illuminate\Queue\RedisQueue;
use Illuminate\Redis\RedisManager;
use Symfony\Component\Cache\Adapter\RedisAdapter;

error_reporting(E_ALL & ~E_DEPRECATED);
foreach (['Illuminate/Cache', 'Illuminate/Container', 'Illuminate/Queue', 'Illuminate/Redis', 'Predis', 'Symfony/Component/Cache'] as $part) {
    require_once "$part/autoload.php";
}

$url = parse_url(getenv('REDIS_URL'));
$host = $url['host'];
$port = $url['port'];
$password = urldecode($url['pass']);

function check(bool $ok, string $what): void
{
    if (!$ok) {
        throw new RuntimeException($what);
    }
}

function redis(): Redis
{
    global $host, $port, $password;
    $r = new Redis();
    $r->connect($host, $port);
    $r->auth($password);
    return $r;
}

function manager(): RedisManager
{
    global $host, $port, $password;
    return new RedisManager(new Container(), 'phpredis', ['default' => compact('host', 'port', 'password')]);
}

function laravel(): Repository
{
    return new Repository(new RedisStore(manager(), 'p:'));
}

function queue(): RedisQueue
{
    $queue = new RedisQueue(manager(), 'default', 'default', 60, 1);
    $queue->setContainer(new Container());
    return $queue;
}

function session(bool $locking): void
{
    global $host, $port, $password;
    ini_set('session.save_handler', 'redis');
    ini_set('session.save_path', "tcp://$host:$port?auth=" . urlencode($password));
    ini_set('session.use_cookies', '0');
    ini_set('session.cache_limiter', '');
    ini_set('redis.session.locking_enabled', $locking ? '1' : '0');
    $id = 'anid';
    foreach ([1, 2] as $request) {
        session_id($id);
        check(session_start(), 'session_start');
        $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
        check(session_write_close(), 'session_write_close');
        if ($locking) {
            check(!redis()->exists("PHPREDIS_SESSION:{$id}_LOCK"), 'the lock is still there');
        }
    }
    check($_SESSION['n'] === 2, 'another session');
    session_id($id);
    session_start();
    check(session_destroy(), 'session_destroy');
}

function symfony(): RedisAdapter
{
    return new RedisAdapter(redis(), 'ns');
}

$features = [
    'laravel cache' => function () {
        $c = laravel();
        check($c->put('k', 'v', 60), 'put');
        check($c->get('k') === 'v', 'get');
        check($c->putMany(['a' => 1, 'b' => 2], 60), 'putMany');
        check($c->many(['a', 'b']) == ['a' => 1, 'b' => 2], 'many');
        check($c->increment('n') == 1, 'increment');
        check($c->remember('r', 60, fn () => 'v') === 'v', 'remember');
        check($c->forever('f', 'v'), 'forever');
        check($c->forget('k'), 'forget');
    },
    'laravel add' => fn () => check(laravel()->add('k', 'v', 60) && !laravel()->add('k', 'w', 60), 'add'),
    'laravel tags' => function () {
        $c = laravel()->tags(['t']);
        check($c->put('k', 'v', 60), 'put');
        check($c->get('k') === 'v', 'get');
        check($c->flush(), 'flush');
        check(laravel()->tags(['t'])->get('k') === null, 'it is still there');
    },
    'laravel clear' => function () {
        laravel()->put('k', 'v', 60);
        check(laravel()->clear(), 'clear');
        check(laravel()->get('k') === null, 'it is still there');
    },
    'laravel lock' => function () {
        $lock = laravel()->lock('l', 5);
        check($lock->get(), 'get');
        check((bool) $lock->release(), 'release');
    },
    'laravel limiter' => function () {
        $done = false;
        manager()->connection()->throttle('t')->allow(2)->every(60)->block(0)->then(function () use (&$done) { $done = true; });
        manager()->connection()->funnel('f')->limit(1)->releaseAfter(5)->block(0)->then(function () use (&$done) { check($done, 'throttle'); });
    },
    'laravel jobs' => function () {
        $queue = queue();
        $queue->pushRaw(json_encode(['uuid' => 'u', 'id' => 'i', 'attempts' => 0, 'job' => 'J', 'data' => []]));
        check($queue->size() === 1, 'size');
        $job = $queue->pop();
        check($job !== null, 'pop');
        $job->release(0);
        $again = $queue->pop();
        check($again !== null && $again->attempts() === 2, 'release');
        $again->delete();
        $queue->later(60, 'J');
    },
    'php sessions' => fn () => session(false),
    'php sessions with locking' => fn () => session(true),
    'predis cache' => function () {
        global $host, $port, $password;
        $r = new Predis\Client(compact('host', 'port', 'password'));
        $r->setex('k', 60, 'v');
        check($r->get('k') === 'v', 'get');
        $r->del('k');
    },
    'phpredis cache' => function () {
        $r = redis();
        $r->setex('k', 60, 'v');
        check($r->get('k') === 'v', 'get');
        $r->del('k');
    },
    'symfony-cache cache' => function () {
        $c = symfony();
        $item = $c->getItem('k')->set('v')->expiresAfter(60);
        check($c->save($item), 'save');
        check($c->getItem('k')->get() === 'v', 'get');
        check($c->deleteItem('k'), 'delete');
    },
    'symfony-cache clear' => function () {
        $c = symfony();
        $c->save($c->getItem('k')->set('v')->expiresAfter(60));
        check($c->clear(), 'clear');
        check(!symfony()->getItem('k')->isHit(), 'it is still there');
    },
];

try {
    $features[$argv[1]]();
} catch (Throwable $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit(1);
}
