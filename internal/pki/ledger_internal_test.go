package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testRoot(t testing.TB) *root {
	t.Helper()
	r, err := newRoot("clinic", ECDSA, 0)
	must(t, err)
	return r
}

// signed is a ledger's text with a good signature, whatever it says.
func signed(t testing.TB, r *root, body string) []byte {
	t.Helper()
	signature, err := r.sign([]byte(body))
	must(t, err)
	return fmt.Appendf(nil, "%ssignature %s\n", body, base64.StdEncoding.EncodeToString(signature))
}

const goodLine = "leaf 10ff spiffe://clinic/app/web 2026-11-25T02:00:00Z 2026-12-02T02:00:00Z aa aa,bb -\n"

const goodBan = "ban spiffe://clinic/app/web 1 2026-11-26T02:00:00Z -\n"

func TestTheLedgerReadsOnlyWhatItWrites(t *testing.T) {
	r := testRoot(t)
	head := ledgerMagic + "signer " + r.id + "\ncrl 1\n"
	for name, c := range map[string]struct {
		body string
		good bool
	}{
		"nothing issued":        {head, true},
		"one":                   {head + goodLine, true},
		"one revoked":           {head + strings.Replace(goodLine, " -\n", " 2026-11-26T02:00:00Z\n", 1), true},
		"a later version":       {strings.Replace(head, "ledger 2", "ledger 3", 1), false},
		"a ban":                 {head + goodBan + goodLine, true},
		"a ban that was lifted": {head + strings.Replace(goodBan, " -\n", " 2026-11-26T02:00:00Z\n", 1), true},
		"two bans":              {head + goodBan + strings.Replace(goodBan, "web", "web2", 1), true},
		"a host banned twice":   {head + goodBan + goodBan, false},
		"bans out of order":     {head + strings.Replace(goodBan, "web", "web2", 1) + goodBan, false},
		"a ban after a leaf":    {head + goodLine + goodBan, false},
		"a ban of the future":   {head + strings.Replace(goodBan, " 1 ", " 2 ", 1), false},
		"a ban without number":  {head + strings.Replace(goodBan, " 1 ", " x ", 1), false},
		"a ban of another's":    {head + strings.Replace(goodBan, "clinic", "lab", 1), false},
		"half a ban":            {head + "ban spiffe://clinic/app/web\n", false},
		"the version before":    {ledgerMagic1 + "signer " + r.id + "\ncrl 1\n" + goodLine, true},
		"bans before their day": {ledgerMagic1 + "signer " + r.id + "\ncrl 1\n" + goodBan + goodLine, false},
		"no signer":             {ledgerMagic + "crl 1\n", false},
		"an unknown signer":     {strings.Replace(head, r.id, strings.Repeat("0", 32), 1), false},
		"no number":             {strings.Replace(head, "crl 1\n", "crl x\n", 1), false},
		"a number in disguise":  {strings.Replace(head, "crl 1\n", "crl 01\n", 1), false},
		"another deployment":    {head + strings.Replace(goodLine, "clinic", "lab", 1), false},
		"no identity":           {head + strings.Replace(goodLine, "spiffe://clinic/app/web", "web", 1), false},
		"a serial out of hex":   {head + strings.Replace(goodLine, "10ff", "zz", 1), false},
		"a long serial":         {head + strings.Replace(goodLine, "10ff", strings.Repeat("ab", 21), 1), false},
		"another spelling":      {head + strings.Replace(goodLine, "10ff", "10FF", 1), false},
		"another zone":          {head + strings.Replace(goodLine, "02:00:00Z", "03:00:00+01:00", 1), false},
		"a leading zero":        {head + strings.Replace(goodLine, "10ff", "0010ff", 1), false},
		"two spaces":            {head + strings.Replace(goodLine, " spiffe", "  spiffe", 1), false},
		"half a line":           {head + goodLine[:40] + "\n", false},
		"an empty line":         {head + "\n" + goodLine, false},
		"a signature in a line": {head + goodLine + "signature x\n", false},
	} {
		l, err := parseLedger(signed(t, r, c.body), "clinic", []*root{r})
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		magic := c.body[:len(ledgerMagic)]
		if err == nil && !bytes.Equal(l.body(magic), []byte(c.body)) {
			t.Errorf("%s: it came back as\n%s", name, l.body(magic))
		}
	}
}

// TestALedgerThatWasTouchedIsRefused changes each byte, and cuts at each.
func TestALedgerThatWasTouchedIsRefused(t *testing.T) {
	ca, err := Create(t.TempDir(), "clinic", Options{})
	must(t, err)
	for _, name := range []string{"web", "db"} {
		_, err = ca.Issue(Request{ID: app(t, name)})
		must(t, err)
	}
	good := ca.state.ledgerText
	roots := ca.state.roots
	if _, err := parseLedger(good, "clinic", roots); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := parseLedger(bad, "clinic", roots); err == nil {
			t.Errorf("byte %d of %d (%q) was changed, and nobody saw", i, len(good), good[i])
		}
		if _, err := parseLedger(good[:i], "clinic", roots); err == nil {
			t.Errorf("it was cut at %d of %d, and nobody saw", i, len(good))
		}
	}
	lines := strings.SplitAfter(string(good), "\n")
	fewer := strings.Join(append(lines[:3:3], lines[4:]...), "")
	if _, err := parseLedger([]byte(fewer), "clinic", roots); err == nil || !strings.Contains(err.Error(), "something else than redoubt") {
		t.Errorf("a line was taken out: %v", err)
	}
}

func TestALedgerOfAnotherCAIsRefused(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		_, err := Create(d, "clinic", Options{})
		must(t, err)
	}
	must(t, os.Rename(filepath.Join(other, ledgerFile), filepath.Join(dir, ledgerFile)))
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, ledgerFile)) || !strings.Contains(err.Error(), "signed by a root") {
		t.Errorf("got %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, ledgerFile)))
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "nothing can be revoked") {
		t.Errorf("a ledger that is missing: %v", err)
	}
}

func TestTheLedgerIsBounded(t *testing.T) {
	r := testRoot(t)
	l := &ledger{signer: r.id, crl: 1}
	e := entry{serial: newSerial(), id: app(t, strings.Repeat("n", 63)), root: r.id, bundle: []string{r.id, r.id}}
	for range maxLedger / 150 {
		l.entries = append(l.entries, e)
	}
	if _, err := l.encode(r); err == nil || !strings.Contains(err.Error(), "more than it can hold") {
		t.Errorf("got %v", err)
	}
}

// TestACRLIsThisCAsOrNone: each is an error that names the file and the mend.
func TestACRLIsThisCAsOrNone(t *testing.T) {
	foreign := testRoot(t)
	sign := func(r *root, number int64) []byte {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(number),
			ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, r.cert, r.key)
		must(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: crlBlock, Bytes: der})
	}
	for name, c := range map[string]struct {
		text func(s *state, was []byte) []byte
		says string // "" is mended
	}{
		"missing":        {func(*state, []byte) []byte { return nil }, ""},
		"older":          {func(s *state, _ []byte) []byte { return sign(s.roots[0], 1) }, ""},
		"newer":          {func(s *state, _ []byte) []byte { return sign(s.roots[0], 9) }, "newer than the ledger"},
		"same, but less": {func(s *state, _ []byte) []byte { return sign(s.roots[0], 2) }, "doesn't list"},
		"of another CA":  {func(*state, []byte) []byte { return sign(foreign, 2) }, "none of this CA's roots"},
		"twice":          {func(_ *state, was []byte) []byte { return append(was, was...) }, "two CRLs"},
		"cut":            {func(_ *state, was []byte) []byte { return was[:len(was)/2] }, "not a whole CRL"},
		"something else": {func(s *state, _ []byte) []byte { return EncodeCertificates(s.roots[0].cert) }, "only CRLs belong"},
		"garbage":        {func(*state, []byte) []byte { return []byte("hello\n") }, "not a whole CRL"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ca, err := Create(dir, "clinic", Options{})
			must(t, err)
			_, err = ca.Issue(Request{ID: app(t, "web")})
			must(t, err)
			_, err = ca.Revoke(app(t, "web"))
			must(t, err)
			path := filepath.Join(dir, crlFile)
			was, err := os.ReadFile(path)
			must(t, err)
			must(t, os.Remove(path))
			if text := c.text(ca.state, was); text != nil {
				must(t, os.WriteFile(path, text, 0o600))
			}
			text, err := ca.Revocations()
			if c.says == "" {
				if lists, _ := parseCRLs(text, ca.state.roots); err != nil || len(lists[ca.state.roots[0].id].RevokedCertificateEntries) != 1 {
					t.Errorf("not mended: %v", err)
				}
				return
			}
			for _, want := range []string{path, c.says, "removed"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to say %q", err, want)
				}
			}
			if _, err := ca.Issue(Request{ID: app(t, "web")}); err == nil {
				t.Error("it went on issuing beside it")
			}
		})
	}
}

// FuzzLedger signs arbitrary text: what is read is what would be written. ROOT
// in it stands for the root's id, which differs from process to process.
func FuzzLedger(f *testing.F) {
	r := testRoot(f)
	head := ledgerMagic + "signer ROOT\ncrl 7\n"
	f.Add(head)
	f.Add(head + strings.ReplaceAll(goodLine, "aa", "ROOT"))
	f.Add(head + strings.Replace(goodLine, " -\n", " 2026-11-26T02:00:00Z\n", 1))
	f.Add(head + goodBan + goodLine)
	f.Add(head + strings.Replace(goodBan, " -\n", " 2026-11-26T02:00:00Z\n", 1))
	f.Add(strings.Replace(head, ledgerMagic, ledgerMagic1, 1) + goodLine)
	f.Add("")
	f.Add("signature \nsignature \n")
	f.Fuzz(func(t *testing.T, body string) {
		body = strings.ReplaceAll(body, "ROOT", r.id)
		if _, err := parseLedger([]byte(body), "clinic", []*root{r}); err == nil {
			t.Fatal("it is read without a signature")
		}
		l, err := parseLedger(signed(t, r, body), "clinic", []*root{r})
		if err != nil {
			if len(err.Error()) > 500 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		magic := body[:len(ledgerMagic)]
		if magic == ledgerMagic1 {
			l.bans = nil // which reading it added
		}
		if string(l.body(magic)) != body {
			t.Fatalf("it came back as %q", l.body(magic))
		}
	})
}

// FuzzCRLs reads arbitrary lists, and ours with some bytes changed: only what our
// roots signed counts.
func FuzzCRLs(f *testing.F) {
	ca, err := Create(f.TempDir(), "clinic", Options{})
	must(f, err)
	_, err = ca.Issue(Request{ID: app(f, "web")})
	must(f, err)
	_, err = ca.Revoke(app(f, "web"))
	must(f, err)
	text, err := ca.Revocations()
	must(f, err)
	r := ca.state.roots[0]
	f.Add(text, uint16(0))
	f.Add([]byte("A"), uint16(100))
	f.Add([]byte("-----END X509 CRL-----\n"), uint16(300))
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"), uint16(9999))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		start := min(int(at), len(text))
		changed := append(text[:start:start], data...)
		if rest := start + len(data); rest < len(text) {
			changed = append(changed, text[rest:]...)
		}
		lists, err := parseCRLs(changed, ca.state.roots)
		if err != nil {
			return
		}
		list := lists[r.id]
		if len(lists) > 1 || list == nil && len(lists) != 0 || list != nil && list.CheckSignatureFrom(r.cert) != nil {
			t.Fatalf("lists that were never signed: %v", lists)
		}
		if good, err := ca.state.ledger.agrees(lists, ca.state.roots); err != nil || good != (list != nil) {
			t.Fatal(good, err)
		}
	})
}

// TestALedgerOfTheVersionBeforeIsReadAndUpgraded: it has no bans, so who was revoked
// and not admitted since is banned.
func TestALedgerOfTheVersionBeforeIsReadAndUpgraded(t *testing.T) {
	dir := t.TempDir()
	ca, err := Create(dir, "clinic", Options{})
	must(t, err)
	for _, name := range []string{"web", "back", "db"} {
		_, err = ca.Issue(Request{ID: app(t, name)})
		must(t, err)
	}
	for _, name := range []string{"web", "back"} {
		_, err = ca.Revoke(app(t, name))
		must(t, err)
	}
	_, err = ca.Issue(Request{ID: app(t, "back")})
	must(t, err)
	r, l := ca.state.signer(), ca.state.ledger.clone()
	l.bans = nil
	must(t, os.WriteFile(filepath.Join(dir, ledgerFile), signed(t, r, string(l.body(ledgerMagic1))), 0o600))
	if _, err := ca.SignOwn(anyCSR(t), Request{ID: app(t, "web")}); !errors.Is(err, ErrRevoked) {
		t.Errorf("who was revoked before: %v", err)
	}
	for _, name := range []string{"back", "db"} {
		if _, err := ca.SignOwn(anyCSR(t), Request{ID: app(t, name)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, ledgerFile))
	must(t, err)
	if !strings.HasPrefix(string(text), ledgerMagic) || strings.Count(string(text), "\nban ") != 1 || !strings.Contains(string(text), "\nban spiffe://clinic/app/web 3 ") {
		t.Errorf("it was upgraded to\n%s", text)
	}
}

func anyCSR(t *testing.T) *x509.CertificateRequest {
	t.Helper()
	_, text, err := NewRequest(ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := ParseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}
