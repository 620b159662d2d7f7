package tunnel

import (
	"context"
	"net"
	"time"
)

// A peer can vanish without a word (power, cable, a firewall that forgot the
// connection). Two things find out:
//
// keepAlive, when nothing is under way: quiet for 15 s, then a probe each 5 s.
// That is often enough for firewalls that forget idle connections after 60 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// The user timeout (tcp(7), TCP_USER_TIMEOUT), when bytes are: the kernel's own
// bound is a quarter of an hour (tcp_retries2). Where it is set it also decides
// when unanswered probes are enough, in place of Count. It cuts as well who is
// there but has taken nothing at all for that long, window probes answered or
// not (tried on Linux 6.18). Hence two values:
const (
	// dialTimeout: an application host must know soon that its gateway is gone,
	// and a gateway that takes nothing for that long is as good as gone.
	dialTimeout = 30 * time.Second
	// acceptTimeout: an application may pause in the middle of a large reply, and
	// plain Redis would let it. What a vanished peer holds until then is bounded
	// by the gateway's limits.
	acceptTimeout = 2 * time.Minute
)

// Listen opens a gateway's port. What it accepts is TCP with the tunnel's
// keepalive and no delay; nothing is spoken yet.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive, Control: userTimeout(acceptTimeout)}
	return lc.Listen(ctx, "tcp", address)
}
