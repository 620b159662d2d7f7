package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2" // for jitter only
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Renewer keeps a host's identity fresh for as long as its process runs:
//   - what changes in its files is taken in (tunnel.Credentials.Watch), and each
//     new certificate is shown to every gateway;
//   - its certificate is renewed, with a new key, when a third of its life is
//     left (a little earlier, by chance, so that hosts don't come all at once),
//     and tried again for as long as that lasts;
//   - what the CA revokes is known here within a second or so;
//   - when the CA's root is being replaced, the certificate is renewed soon.
//
// Where the key lies in a file of its own, or there are no files, the certificate
// is somebody else's to renew, and only the first is done.
//
// Other roots are taken in only together with a certificate for our fresh key that
// stands under a root that is believed already, and if such a root has signed for
// them: who has a gateway's key may have a host's too, and pass a renewal on.
type Renewer struct {
	Credentials *tunnel.Credentials
	Files       tunnel.Files // that Credentials were loaded from
	// At most one of the two: gateways that may have the CA, or the CA itself, whose
	// own files are then what Files names for CA and CRL.
	Dialer *tunnel.Dialer
	Server *Server
	// Fresh, if it is set, is called when an application host has a new certificate;
	// Changed whenever something else than before is believed, or revoked.
	Fresh, Changed func()
	Log            *slog.Logger
}

const (
	// lookAtClock bounds each wait: a clock that jumps, or a machine that slept,
	// must not make a renewal late.
	lookAtClock = time.Minute
	// lookAtRotation is how soon a gateway beside the CA follows a step of a rotation.
	lookAtRotation = 2 * time.Second
	// notServedPause is how long a gateway without a CA is not asked again.
	notServedPause = 10 * time.Minute
)

// Run keeps until ctx ends. It never fails: what goes wrong is in the log, and
// what is in use stays in use.
func (r *Renewer) Run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { r.Credentials.Watch(ctx, r.Log) })
	if r.Dialer != nil && r.Credentials.ID().Role() == identity.App {
		parts.Go(func() {
			r.Dialer.KeepShowing(ctx, r.Log, func() {
				if r.Fresh != nil {
					r.Fresh()
				}
			})
		})
	}
	if r.Changed != nil {
		parts.Go(func() { r.tellChanges(ctx) })
	}
	if r.Files.Certificate != "" && r.Files.Key == "" && (r.Dialer != nil || r.Server != nil) {
		parts.Go(func() { r.keepRenewing(ctx) })
	}
	parts.Wait()
}

func (r *Renewer) tellChanges(ctx context.Context) {
	for ctx.Err() == nil {
		changed := r.Credentials.Changed()
		r.Changed() // also at first: it may have changed before we asked
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (r *Renewer) keepRenewing(ctx context.Context) {
	early := make(chan struct{}, 1) // asks for a renewal before it is due
	var following sync.WaitGroup
	if r.Server != nil {
		following.Go(func() { r.followBeside(ctx, early) })
	} else {
		following.Go(func() { r.follow(ctx, early) })
	}
	for r.awaitDue(ctx, early) {
		r.renewPatiently(ctx)
		select {
		case <-early: // what asked for it meanwhile has got it
		default:
		}
	}
	following.Wait()
}

// schedule is when a certificate is renewed, and how patiently that is tried.
type schedule struct {
	due        time.Time
	first, max time.Duration // pauses between tries
}

// scheduleOf leaves time for many tries: a third of the life, of which a pause
// takes a tenth at most. chance is from 0 to 1.
func scheduleOf(cert *x509.Certificate, chance float64) schedule {
	life := cert.NotAfter.Sub(cert.NotBefore) - pki.ClockSkew // it was issued as of then
	if life <= 0 {
		life = cert.NotAfter.Sub(cert.NotBefore) // not one of ours
	}
	early := time.Duration(chance * float64(life) / 20)
	return schedule{
		due:   cert.NotAfter.Add(-life/3 - early),
		first: min(max(life/1000, 200*time.Millisecond), time.Minute),
		max:   min(max(life/30, time.Second), time.Hour),
	}
}

// awaitDue waits until the certificate in use is due, or is wanted early; false is
// the end of ctx.
func (r *Renewer) awaitDue(ctx context.Context, early <-chan struct{}) bool {
	chance := rand.Float64()
	for {
		plan := scheduleOf(r.Credentials.Certificate(), chance) // it may be replaced by hand
		wait := time.Until(plan.due)
		if wait <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-early:
			if r.Server != nil { // tokens that are made now want to see it under the new root
				return true
			}
			return pause(ctx, jitter(plan.max)) // not all hosts at once
		case <-time.After(min(wait, lookAtClock)):
		}
	}
}

// renewPatiently tries until there is a new certificate, which may also come by
// hand.
func (r *Renewer) renewPatiently(ctx context.Context) {
	old := r.Credentials.Certificate()
	plan := scheduleOf(old, 0)
	for next := plan.first; r.Credentials.Certificate().Equal(old); next = min(2*next, plan.max) {
		err := r.renew(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		r.Log.Warn("this host's certificate could not be renewed, it is tried again", "until", old.NotAfter, "left", time.Until(old.NotAfter).Round(time.Second), "error", err)
		if !pause(ctx, next/2+jitter(next/2)) {
			return
		}
	}
}

func jitter(d time.Duration) time.Duration { return time.Duration(rand.Float64() * float64(d)) }

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// renew gets a new certificate for a new key, and puts both in use.
func (r *Renewer) renew(ctx context.Context) error {
	if r.Server != nil {
		return r.renewBeside(r.Server)
	}
	if left := time.Until(r.Credentials.NotAfter()); left <= 0 {
		return errors.New("the certificate has expired, no gateway takes it any more: move its file away and join with a new token (redoubt token create)")
	}
	key, csr, err := newKey()
	if err != nil {
		return err
	}
	conn, err := r.Dialer.DialRenew(ctx)
	if tunnel.NotServed(err) {
		return errors.New("none of the gateways that answer has the CA (pki.dir in its gateway.yaml), or the one that has it is of a release before this one (restart it): else issue a new certificate (redoubt pki issue)")
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	a, err := r.askRenewal(ctx, conn, csr)
	if err != nil {
		return err
	}
	got, err := a.identity(key)
	if err != nil {
		return err
	}
	if err := got.is(r.Credentials.ID()); err != nil {
		return err
	}
	if _, err := pki.NewLeaf(key, got.Certificate(), r.Credentials.Roots()); err != nil {
		return fmt.Errorf("the certificate that came is not of a CA that is believed here, so whatever else came is not taken in: %w", err)
	}
	if err := pki.CheckEndorsed(r.Credentials.Roots(), got.roots, a.Endorsements); err != nil {
		return fmt.Errorf("nothing of the gateway's answer was taken: %w", err)
	}
	if err := got.replace(r.Files); err != nil {
		return err
	}
	return r.Credentials.Reload()
}

// askRenewal asks for a certificate with the one that is in use: what is signed over the
// CA's challenge proves who asks, whoever passes it on.
func (r *Renewer) askRenewal(ctx context.Context, conn *tls.Conn, csr []byte) (*answer, error) {
	a, err := ask(ctx, conn, renewRequest{Challenge: true}, exchangeTimeout)
	if err == nil && a.Error != "" {
		err = fmt.Errorf("refused: %q", a.Error)
	}
	if err != nil {
		return nil, err
	}
	cert, key, err := r.Credentials.Proof()
	if err != nil {
		return nil, err
	}
	q, err := pki.NewRenewal(cert, key, csr, a.Challenge)
	if err != nil {
		return nil, err
	}
	return ask(ctx, conn, renewRequest{Renewal: q}, exchangeTimeout)
}

// ask sends a request and waits for its answer.
func ask(ctx context.Context, conn *tls.Conn, q renewRequest, patience time.Duration) (*answer, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) // long ago
	defer stop()
	if err := send(conn, q); err != nil {
		return nil, err
	}
	a := new(answer)
	if err := receive(conn, maxAnswer, a); err != nil {
		if refusal := tunnel.Refusal(err); refusal != "" {
			return nil, errors.New(refusal)
		}
		return nil, fmt.Errorf("no answer of the gateway: %w", err)
	}
	return a, nil
}

// renewBeside asks the CA of this very machine. Roots and lists are the CA's own
// files.
func (r *Renewer) renewBeside(s *Server) error {
	old := r.Credentials.Certificate()
	got, err := s.Signer.certify(Own{r.Credentials.ID(), old.DNSNames, addressesOf(old)})
	if err != nil {
		return err
	}
	if err := got.writeCertificate(r.Files.Certificate); err != nil {
		return err
	}
	return r.Credentials.Reload()
}

func addressesOf(cert *x509.Certificate) (addrs []netip.Addr) {
	for _, ip := range cert.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// followBeside does for a host with the CA what follow does for others.
func (r *Renewer) followBeside(ctx context.Context, early chan<- struct{}) {
	told := map[string]bool{} // by serial
	for {
		changed := r.Credentials.Changed()
		pause := lookAtClock
		rotation, err := r.Server.Signer.rotation() // its log says what is wrong
		if err == nil {
			r.warnOfLate(rotation.Late, told)
			if slices.Contains(rotation.Waiting, r.Credentials.ID().String()) {
				want(early)
			}
		}
		if err != nil || !rotation.Resting { // its next step may change the ledger alone, which nobody watches
			pause = lookAtRotation
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(pause):
		}
	}
}

// warnOfLate names hosts whose certificates end soon: when one has ended, its host
// needs a person with a token.
func (r *Renewer) warnOfLate(late []lateHost, told map[string]bool) {
	for _, host := range late {
		id, err := identity.Parse(host.Identity)
		if err == nil && id != r.Credentials.ID() && !told[host.Serial] && !strings.HasPrefix(id.Name(), pki.ProbePrefix) {
			told[host.Serial] = true
			r.Log.Warn("a host has not renewed its certificate: once that has ended it must join again with a token (is it off, or cut off? revoke it if it is gone)", "identity", id, "until", host.End)
		}
	}
}

func want(early chan<- struct{}) {
	select {
	case early <- struct{}{}:
	default: // it is wanted already
	}
}

// follow asks for news of what to believe for as long as ctx lasts; the answer
// comes when there are some.
func (r *Renewer) follow(ctx context.Context, early chan<- struct{}) {
	const most = time.Minute
	told := "" // the last complaint
	for next := time.Second; ctx.Err() == nil; next = min(2*next, most) {
		began := time.Now()
		err := r.followOnce(ctx, early)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // there is a new certificate to come with
			next, told = time.Second, ""
			continue
		}
		if tunnel.NotServed(err) {
			next = notServedPause
		} else if time.Since(began) > most {
			next = time.Second // it went well for a while
		}
		if err.Error() != told {
			told = err.Error()
			r.Log.Info("nobody tells this host what the CA revokes, it asks again", "error", err)
		}
		if !pause(ctx, next/2+jitter(next/2)) {
			return
		}
	}
}

// followOnce returns nil when it has to connect anew, since the certificate that
// it came with has had its time.
func (r *Renewer) followOnce(ctx context.Context, early chan<- struct{}) error {
	cert := r.Credentials.Certificate()
	conn, err := r.Dialer.DialRenew(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var known []byte
	for r.Credentials.Certificate().Equal(cert) {
		a, err := ask(ctx, conn, renewRequest{Known: known}, waitAtMost+exchangeTimeout)
		if err != nil {
			return err
		}
		roots, err := a.believed()
		if err != nil {
			return err
		}
		same := sameCerts(roots, r.Credentials.Roots())
		if a.Renew || !same {
			want(early)
		}
		if err := r.takeRevocations(a.Revocations); err != nil && same { // else they come with the renewal
			return err
		}
		known = a.digest()
	}
	return nil
}

// takeRevocations takes in lists that came without a certificate: they are
// signed, and prove themselves.
func (r *Renewer) takeRevocations(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if err := r.Credentials.CheckRevocations(text); err != nil {
		return fmt.Errorf("the lists of revoked certificates that came: %w", err)
	}
	if err := writeChanged(r.Files.CRL, text); err != nil {
		return err
	}
	return r.Credentials.Reload()
}

func sameCerts(a, b []*x509.Certificate) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(cert *x509.Certificate) bool { return !contains(b, cert) })
}
