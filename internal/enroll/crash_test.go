package enroll

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// filesIn is a host's identity in a directory.
func filesIn(dir string) tunnel.Files {
	return tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "revoked.crl")}
}

// TestKilledAtAnyMomentAnIdentityLoads has a process exchange an identity for
// one under another CA and back, without end, and kills it.
func TestKilledAtAnyMomentAnIdentityLoads(t *testing.T) {
	const child = "REDOUBT_TEST_REPLACES_IN"
	if dir := os.Getenv(child); dir != "" {
		replaceForEver(t, dir)
	}
	dir := t.TempDir()
	stages := map[string]int{}
	for range 60 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtAnyMomentAnIdentityLoads$")
		cmd.Env = append(os.Environ(), child+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 1 + rand.IntN(3); n > 0 && lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "replaced") {
				n--
			}
		}
		<-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		c, err := tunnel.LoadCredentials(filesIn(dir))
		if err != nil {
			t.Fatal(err)
		}
		left, err := filepath.Glob(filepath.Join(dir, ".redoubt-new-*"))
		must(t, err)
		stages[fmt.Sprintf("%d roots, %d unfinished files", len(c.Roots()), len(left))]++
	}
	if len(stages) < 2 {
		t.Errorf("it was always killed at the same place: %v", stages)
	}
	t.Log(stages)
}

func replaceForEver(t *testing.T, dir string) {
	var both [2]*Identity
	for i := range both {
		ca, err := pki.Create(filepath.Join(t.TempDir(), "ca"), "clinic", pki.Options{})
		must(t, err)
		leaf, err := ca.Issue(pki.Request{ID: who(t, identity.App, "web-1")})
		must(t, err)
		revocations, err := ca.Revocations()
		must(t, err)
		both[i] = &Identity{leaf, []*x509.Certificate{ca.Certificate()}, revocations}
	}
	if Vacant(filesIn(dir)) == nil {
		must(t, both[0].Install(filesIn(dir)))
	}
	for i := 0; ; i++ {
		must(t, both[i%2].replace(filesIn(dir)))
		os.Stdout.WriteString("replaced\n")
	}
}

func TestAFullDiskKeepsTheOldIdentity(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "none", dir).CombinedOutput(); err != nil {
		t.Fatalf("a small file system can't be mounted (root is needed): %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	got, err := Join(t.Context(), h.token("web-1", time.Hour, s))
	must(t, err)
	must(t, got.Install(filesIn(dir)))
	c, err := tunnel.LoadCredentials(filesIn(dir))
	must(t, err)
	before := c.Certificate()
	f, err := os.Create(filepath.Join(dir, "full"))
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	k := &Renewer{Credentials: c, Files: filesIn(dir), Dialer: &tunnel.Dialer{Credentials: c, Endpoints: []tunnel.Endpoint{{Address: s.address, ID: who(t, identity.Gateway, "cache-1")}}}}
	if err := k.renew(t.Context()); err == nil || !strings.Contains(err.Error(), "no space") || !strings.Contains(err.Error(), dir) {
		t.Errorf("renewal: %v", err)
	}
	again, err := tunnel.LoadCredentials(filesIn(dir))
	must(t, err)
	if !c.Certificate().Equal(before) || !again.Certificate().Equal(before) {
		t.Error("it has another certificate")
	}
	must(t, os.Remove(filepath.Join(dir, "full")))
	must(t, k.renew(t.Context()))
	if c.Certificate().Equal(before) {
		t.Error("with room again it doesn't renew")
	}
}

// TestEveryLifeLeavesManyTries holds for each life that can be asked for.
func TestEveryLifeLeavesManyTries(t *testing.T) {
	now := time.Now()
	for _, life := range []time.Duration{10 * time.Second, time.Minute, time.Hour, 24 * time.Hour, pki.LeafLife, pki.MaxLeafLife} {
		cert := &x509.Certificate{NotBefore: now.Add(-pki.ClockSkew), NotAfter: now.Add(life)}
		for _, chance := range []float64{0, 0.5, 1} {
			s := scheduleOf(cert, chance)
			if at := float64(s.due.Sub(now)) / float64(life); at < 0.61 || at > 0.67 {
				t.Errorf("%s: due at %.2f of it", life, at)
			}
			tries, at := 0, s.due
			for next := s.first; at.Before(cert.NotAfter); next = min(2*next, s.max) { // without jitter, which shortens
				at = at.Add(next)
				tries++
			}
			if tries < 5 || s.first > s.max {
				t.Errorf("%s: %d tries, from %s to %s", life, tries, s.first, s.max)
			}
		}
	}
}
