package pki

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkIssue beside ten thousand hosts that have renewed once: what a
// renewal costs a CA of that size, the ledger's way to the disk included.
func BenchmarkIssue(b *testing.B) {
	dir := b.TempDir()
	ca, err := Create(dir, "clinic", Options{})
	must(b, err)
	l, now := ca.state.ledger.clone(), time.Now().UTC().Truncate(time.Second)
	for i := range 20_000 {
		l.entries = append(l.entries, entry{serial: newSerial(), id: app(b, fmt.Sprintf("web-%d", i/2)), issued: now,
			end: now.Add(LeafLife), root: l.signer, bundle: []string{l.signer}})
	}
	must(b, ca.writeLedger(ca.state, l))
	for b.Loop() {
		_, err := ca.Issue(Request{ID: app(b, "web")})
		must(b, err)
	}
	b.ReportMetric(float64(len(ca.state.ledgerText)), "bytes")
}
