package enroll

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// weeks runs f in a bubble of time of its own, where weeks pass in no time, with
// a gateway that renews at the CA beside it.
func weeks(t *testing.T, f func(t *testing.T, h *cahost, c *tunnel.Credentials, log *lines)) {
	synctest.Test(t, func(t *testing.T) {
		h := newCAHost(t)
		dir := filepath.Join(filepath.Dir(h.dir), "cache-1")
		h.issue(identity.Gateway, "cache-1", dir, 0)
		files := tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(h.dir, "ca.crt"), CRL: filepath.Join(h.dir, "revoked.crl")}
		c, err := tunnel.LoadCredentials(files)
		must(t, err)
		log := &lines{changed: make(chan struct{})}
		logger := slog.New(slog.NewTextHandler(log, nil))
		k := &Renewer{Credentials: c, Files: files, Log: logger, Server: &Server{Signer: h.beside(c.ID(), logger), Credentials: c, Log: logger}}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.keepRenewing(ctx) }()
		f(t, h, c, log)
		stop()
		<-done
	})
}

// beside is a signer in this very process, whose time is the bubble's.
func (h *cahost) beside(own identity.ID, log *slog.Logger) *Signer {
	here, there := net.Pipe()
	go (&signer{ca: h.ca, tokens: h.tokens, own: []identity.ID{own}, log: slog.New(slog.DiscardHandler)}).serve(there)
	h.t.Cleanup(func() { here.Close() })
	return &Signer{options: SignerOptions{Log: log}, conn: here, end: func() {}}
}

func TestDaysOfRenewals(t *testing.T) {
	weeks(t, func(t *testing.T, h *cahost, c *tunnel.Credentials, log *lines) {
		serials := map[string]bool{}
		for range 10 * 24 {
			time.Sleep(time.Hour)
			if left := time.Until(c.NotAfter()); left < pki.LeafLife/3-time.Minute {
				t.Fatalf("only %s are left", left)
			}
			serials[c.Certificate().SerialNumber.String()] = true
		}
		if n := len(serials); n != 3 { // one and a half a week, some a little early
			t.Errorf("%d certificates in ten days", n)
		}
		if text, _ := log.all(); text != "" {
			t.Errorf("log: %s", text)
		}
	})
}

// TestTheCAMayBeAwayForTwoDays: its disk is gone when the renewal is due.
func TestTheCAMayBeAwayForTwoDays(t *testing.T) {
	weeks(t, func(t *testing.T, h *cahost, c *tunnel.Credentials, log *lines) {
		time.Sleep(4 * 24 * time.Hour) // not due yet
		before := c.Certificate()
		must(t, os.Rename(h.dir, h.dir+".away"))
		time.Sleep(50 * time.Hour)
		if !c.Certificate().Equal(before) || time.Until(before.NotAfter) <= 0 {
			t.Fatal("the test is broken")
		}
		text, _ := log.all()
		if n := strings.Count(text, "could not be renewed"); n < 20 || n > 100 {
			t.Errorf("%d warnings in the time that the CA was missing", n)
		}
		must(t, os.Rename(h.dir+".away", h.dir))
		time.Sleep(time.Hour)
		if c.Certificate().Equal(before) {
			t.Error("an hour after the CA is back it hasn't renewed")
		}
	})
}

// TestTheClockIsLookedAtWhileWaiting: the wait began when a week was left, and
// then only an hour is, as after a jump of the clock or by hand.
func TestTheClockIsLookedAtWhileWaiting(t *testing.T) {
	weeks(t, func(t *testing.T, h *cahost, c *tunnel.Credentials, log *lines) {
		time.Sleep(time.Minute)
		leaf, err := h.ca.Issue(pki.Request{ID: c.ID(), Life: time.Hour})
		must(t, err)
		must(t, (&Identity{leaf: leaf}).writeCertificate(filepath.Join(filepath.Dir(h.dir), "cache-1", "tls.pem")))
		must(t, c.Reload())
		short := c.Certificate()
		time.Sleep(45 * time.Minute)
		if c.Certificate().Equal(short) {
			t.Error("it waits for what was due before")
		}
	})
}

// TestTheGatewayBesideTheCAFollowsARotationAtOnce: tokens name the root that
// signs, and a host that joins with one wants to see the gateway under it.
func TestTheGatewayBesideTheCAFollowsARotationAtOnce(t *testing.T) {
	weeks(t, func(t *testing.T, h *cahost, c *tunnel.Credentials, log *lines) {
		must(t, h.ca.StartRotation(pki.Options{}))
		time.Sleep(2 * lookAtClock)
		must(t, h.ca.SwitchRoot(false))
		time.Sleep(2 * lookAtClock)
		if err := c.Certificate().CheckSignatureFrom(h.ca.Certificate()); err != nil {
			t.Error(err)
		}
		must(t, h.ca.FinishRotation(false))
		must(t, c.Reload())
	})
}
