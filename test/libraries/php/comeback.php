<?php
// Holds a connection of a PHP library in a state; see ../comeback_test.go.

error_reporting(E_ALL & ~E_DEPRECATED & ~E_WARNING & ~E_NOTICE);
ini_set('default_socket_timeout', '-1');
require_once 'Predis/autoload.php';

$url = parse_url(getenv('REDIS_URL'));
[$host, $port, $password] = [$url['host'], $url['port'], urldecode($url['pass'])];
$key = getenv('KEY');

function say(string $text): void
{
    fwrite(STDOUT, strtr($text, "\n", ' ') . "\n");
}

function attempt(callable $do): bool
{
    try {
        $do();
        say('ok');
        return true;
    } catch (Throwable $e) {
        say('err ' . get_class($e) . ': ' . $e->getMessage());
        return false;
    }
}

function nextLine(): void
{
    if (fgets(STDIN) === false) {
        exit(0);
    }
}

function onLines(callable $do): void
{
    while (true) {
        nextLine();
        attempt($do);
    }
}

function forEver(callable $do): void
{
    while (true) {
        attempt($do) || usleep(100000);
    }
}

function must($reply): void
{
    if ($reply === false) {
        throw new Exception('it said false');
    }
}

function phpredis(): Redis
{
    global $host, $port, $password;
    $r = new Redis();
    $r->connect($host, $port);
    $r->auth($password);
    return $r;
}

function predis(): Predis\Client
{
    global $host, $port, $password;
    return new Predis\Client(compact('host', 'port', 'password') + ['read_write_timeout' => -1]);
}

$r = $argv[1] === 'phpredis' ? phpredis() : predis();
switch ("$argv[1] $argv[2]") {
    case 'phpredis command':
    case 'predis command':
        onLines(function () use ($r, $key) {
            must($r->set($key, 'v'));
            must($r->get($key));
        });
        break;
    case 'phpredis blocked':
        forEver(fn () => must($r->blPop([$key], 0)));
        break;
    case 'predis blocked':
        forEver(fn () => $r->blpop([$key], 0));
        break;
    case 'phpredis subscribed':
        forEver(fn () => must($r->subscribe([$key], fn () => say('ok'))));
        break;
    case 'predis subscribed':
        forEver(function () use ($r, $key) {
            foreach ($r->pubSubLoop(['subscribe' => $key]) as $m) {
                if ($m->kind === 'message') {
                    say('ok');
                }
            }
        });
        break;
    case 'phpredis transaction':
        onLines(function () use ($r, $key) {
            must($r->watch($key));
            $r->get($key);
            say('watched');
            nextLine();
            must($r->multi()->set($key, 'v')->exec());
        });
        break;
    case 'predis transaction':
        onLines(function () use ($r, $key) {
            $r->watch($key);
            $r->get($key);
            say('watched');
            nextLine();
            $r->multi();
            $r->set($key, 'v');
            if ($r->exec() === null) {
                throw new Exception('the transaction was not run');
            }
        });
        break;
    default:
        exit(2);
}
