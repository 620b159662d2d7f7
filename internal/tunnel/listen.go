package tunnel

import (
	"context"
	"net"
	"time"
)

// keepAlive finds a peer that vanished without a word (power, cable, a firewall
// that forgot the connection): quiet for 15 s, then a probe each 5 s, dead after
// 3 without an answer, so 30 s in all. Shorter than the 60 s after which some
// firewalls forget an idle connection.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// userTimeout bounds the same for a peer that vanished with our bytes under
// way, which keepalive doesn't look at (tcp(7), TCP_USER_TIMEOUT); the kernel's
// own bound is a quarter of an hour (tcp_retries2). A peer that is there but
// reads slowly answers window probes and is not meant (since Linux 5.11; before, a
// reader that took nothing for that long was cut too).
const userTimeout = 30 * time.Second

// Listen opens a gateway's port. What it accepts is TCP with the tunnel's
// keepalive and no delay, nothing is spoken yet.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive, Control: control}
	return lc.Listen(ctx, "tcp", address)
}
