package gateway

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// explain says for the log why a handshake failed. Of what the peer sent it
// repeats nothing but names from its certificate, and not much of them.
func explain(err error, timeout time.Duration) string {
	var header tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &header):
		return looksLike(header.RecordHeader)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("no handshake within %s", timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return wentAway
	}
	if errors.As(err, &op) && op.Op == "remote error" { // an alert, which has no exported type
		return fmt.Sprintf("it ended the handshake: %v (does it know our CA and our identity?)", op.Err)
	}
	const most = 300 // a certificate can hold a novel
	text := err.Error()
	if strings.Contains(text, "unsupported application protocols") && strings.Contains(text, tunnel.Several) {
		return notAlone
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

const notAlone = "its sidecar has several gateways, and this cache holds locks or queues, which must not be one of several (docs/decisions/0142)"

const wentAway = "it went away before the handshake was done"

// looksLike guesses what a peer takes us for, by its first five bytes: enough to
// tell an operator where the mistake is.
func looksLike(first [5]byte) string {
	if first[0] == '*' && '0' <= first[1] && first[1] <= '9' {
		return "not TLS: spoke plain Redis?"
	}
	if 20 <= first[0] && first[0] <= 23 { // the record types, RFC 8446 §5.1
		return "broken TLS: an impossible first record"
	}
	for _, known := range []struct{ what, starts string }{
		{"HTTP", "GET /,HEAD ,POST ,PUT /,OPTIO,CONNE,DELET,PATCH,PRI *"}, // before Redis, for GET
		{"SSH", "SSH-"},
		{"plain Redis", "PING,AUTH ,HELLO,INFO,GET ,SET ,QUIT,SELEC,CLIEN,COMMA"}, // typed inline
	} {
		for start := range strings.SplitSeq(known.starts, ",") {
			if bytes.HasPrefix(bytes.ToUpper(first[:]), []byte(start)) {
				return "not TLS: spoke " + known.what + "?"
			}
		}
	}
	return "not TLS: unknown bytes"
}

// refusals writes one line a refusal, up to refusalsPerSecond: strangers cause
// them, and must not be able to fill a disk. The rest is counted, and the count
// told in the next line.
type refusals struct {
	out    *slog.Logger
	total  atomic.Int64 // logged or not
	knocks atomic.Int64 // who connects and leaves without a word is not refused anything

	mu      sync.Mutex
	second  int64 // Unix time of the count
	count   int
	skipped int
	knocked int64 // when a knock was last logged
}

const refusalsPerSecond = 10

func newRefusals(log *slog.Logger) *refusals { return &refusals{out: log} }

func (r *refusals) log(source netip.Addr, peer identity.ID, reason string) {
	r.total.Add(1)
	skipped, ok := r.allow(time.Now().Unix())
	if !ok {
		return
	}
	args := []any{"source", source, "reason", reason}
	if !peer.IsZero() {
		args = append(args, "peer", peer)
	}
	if skipped > 0 {
		args = append(args, "refusals_not_logged", skipped)
	}
	r.out.Warn("connection refused", args...)
}

// knock notes that a source has connected and left without a word, as a balancer's check
// does every few seconds. One line a minute tells of them.
func (r *refusals) knock(source netip.Addr) {
	r.knocks.Add(1)
	now := time.Now().Unix()
	r.mu.Lock()
	told := now-r.knocked < knocksEvery
	if !told {
		r.knocked = now
	}
	r.mu.Unlock()
	if !told {
		r.out.Info("a connection ended without a word: a health check? It learns more from /readyz (admin.metrics)", "source", source, "since_start", r.knocks.Load())
	}
}

const knocksEvery = 60 // seconds

// allow says whether a line may be written now, and how many could not before.
func (r *refusals) allow(second int64) (skipped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if second != r.second {
		r.second, r.count = second, 0
	}
	if r.count >= refusalsPerSecond {
		r.skipped++
		return 0, false
	}
	r.count++
	skipped, r.skipped = r.skipped, 0
	return skipped, true
}

// flush tells the last count, at the end.
func (r *refusals) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.skipped > 0 {
		r.out.Warn("connections refused", "refusals_not_logged", r.skipped)
		r.skipped = 0
	}
}
