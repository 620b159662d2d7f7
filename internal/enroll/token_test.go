package enroll

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

func someGrant(t testing.TB) Grant {
	t.Helper()
	id, err := identity.New("clinic", identity.App, "web-1")
	must(t, err)
	return Grant{
		Identity: id, TTL: time.Hour, CA: pki.Moment{Roots: []RootHash{sha256.Sum256([]byte("root"))}},
		Gateways: []Gateway{{"cache-1", "10.77.0.2:6379"}, {"cache-2", "[2001:db8::1]:6379"}},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestATokenIsWhatWasWritten(t *testing.T) {
	g := someGrant(t)
	made, err := newToken(g.CA.Roots, g.Identity, g.Gateways)
	must(t, err)
	read, err := ParseToken("  " + made.Text() + "\n")
	must(t, err)
	if read.id != made.id || read.secret != made.secret || !slices.Equal(read.Roots, made.Roots) || read.Identity != made.Identity ||
		len(read.Gateways) != 2 || read.Gateways[1] != made.Gateways[1] {
		t.Errorf("%+v, want %+v", read, made)
	}
	if text := made.Text(); strings.Contains(made.String(), text[20:60]) || len(text) > 600 {
		t.Errorf("%q of %d bytes prints as %s", text, len(text), made)
	}
}

// tokenOfBefore was made by a release whose tokens named one root.
const tokenOfBefore = "rdjoin1_eyJpZCI6IjAxMDIwMzA0MDUwNjA3MDgiLCJzZWNyZXQiOiJBQUVDQXdRRkJnY0lDUW9MREEwT0R4QVJFaE1VRlJZWEdCa2FHeHdkSGg4PSIsImNhIjoiU0JOSlRSTitGakc3b3dIVnJLdHVlN2VxZE00UmhkUldWbDcxSFhOMmQ3ST0iLCJpZGVudGl0eSI6InNwaWZmZTovL2NsaW5pYy9hcHAvd2ViLTEiLCJnYXRld2F5cyI6W3sibmFtZSI6ImNhY2hlLTEiLCJhZGRyZXNzIjoiMTAuNzcuMC4yOjYzNzkifV19xRpRaA"

func TestATokenOfTheVersionBeforeIsRead(t *testing.T) {
	read, err := ParseToken(tokenOfBefore)
	must(t, err)
	if len(read.Roots) != 1 || read.ID() != "0102030405060708" || read.Identity.String() != "spiffe://clinic/app/web-1" || len(read.Gateways) != 1 {
		t.Errorf("%+v", read)
	}
	again, err := ParseToken(read.Text())
	must(t, err)
	if !slices.Equal(again.Roots, read.Roots) || again.secret != read.secret {
		t.Errorf("%+v", again)
	}
	// What is of one version is not of the other.
	for _, text := range []string{tokenPrefix + strings.TrimPrefix(tokenOfBefore, tokenPrefix1), tokenPrefix1 + strings.TrimPrefix(read.Text(), tokenPrefix)} {
		if _, err := ParseToken(text); err == nil || !strings.Contains(err.Error(), "form") {
			t.Errorf("%v", err)
		}
	}
}

func TestAnySpoiltTokenIsRefused(t *testing.T) {
	g := someGrant(t)
	made, err := newToken(g.CA.Roots, g.Identity, g.Gateways)
	must(t, err)
	text := made.Text()
	for i := range text {
		spoilt := []byte(text)
		spoilt[i] ^= 1
		if _, err := ParseToken(string(spoilt)); err == nil {
			t.Fatalf("byte %d changed: taken", i)
		} else if strings.Contains(err.Error(), text[len(tokenPrefix):len(tokenPrefix)+20]) {
			t.Fatalf("the error repeats the token: %v", err)
		}
		if _, err := ParseToken(text[:i]); err == nil {
			t.Fatalf("cut at %d: taken", i)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	g := someGrant(f)
	made, err := newToken(g.CA.Roots, g.Identity, g.Gateways)
	must(f, err)
	f.Add(made.Text())
	f.Add(tokenPrefix)
	f.Add(tokenPrefix + "e30K")
	f.Add(tokenOfBefore)
	f.Fuzz(func(t *testing.T, text string) {
		read, err := ParseToken(text)
		if err != nil {
			return
		}
		if again, err := ParseToken(read.Text()); err != nil || again.Text() != read.Text() {
			t.Fatalf("%v: %s and %s", err, read.Text(), again.Text())
		}
	})
}

func TestATokenIsGoodOnceAndOnlyWithItsSecret(t *testing.T) {
	ts := OpenTokens(t.TempDir())
	made, err := ts.Create(someGrant(t))
	must(t, err)
	now := time.Now()
	good := asked(t, made)
	wrong := made
	wrong.secret[0] ^= 1
	guess := asked(t, wrong)
	if _, err := ts.check(guess, now); !errors.Is(err, errUnknown) {
		t.Errorf("a wrong secret: %v", err)
	}
	r, err := ts.check(good, now)
	must(t, err)
	if r.Identity != "spiffe://clinic/app/web-1" {
		t.Errorf("it grants %q", r.Identity)
	}
	if _, err := ts.check(good, now.Add(time.Hour)); !errors.Is(err, errExpired) {
		t.Errorf("an hour later: %v", err)
	}
	second, err := made.request([]byte("another CSR"))
	must(t, err)
	must(t, ts.use(good, r))
	if err := ts.use(&second, r); !errors.Is(err, errUsed) {
		t.Errorf("a second use: %v", err)
	}
	if _, err := OpenTokens(filepath.Dir(ts.dir)).check(&second, now); !errors.Is(err, errUsed) {
		t.Errorf("after a restart: %v", err)
	}
	if again, err := ts.check(good, now); err != nil || again.CSR == nil {
		t.Errorf("the same request again: %v", err)
	}
	if _, err := ts.check(guess, now); !errors.Is(err, errUnknown) {
		t.Errorf("a wrong secret of a used one: %v", err)
	}
	must(t, ts.giveBack(good, r))
	r, err = ts.check(&second, now)
	must(t, err)
	must(t, ts.use(&second, r))
}

// asked is what a token's host sends.
func asked(t *testing.T, token Token) *enrollRequest {
	t.Helper()
	q, err := token.request([]byte("a CSR"))
	must(t, err)
	return &q
}

// TestNothingOfARequestCanBeChangedOnItsWay, nor made of what lies where the CA is.
func TestNothingOfARequestCanBeChangedOnItsWay(t *testing.T) {
	ts := OpenTokens(t.TempDir())
	made, err := ts.Create(someGrant(t))
	must(t, err)
	other, err := ts.Create(someGrant(t))
	must(t, err)
	good := *asked(t, made)
	if _, err := ts.check(&good, time.Now()); err != nil {
		t.Fatal(err)
	}
	kept, err := ts.read(made.ID(), tokenSuffix)
	must(t, err)
	thief := made
	copy(thief.secret[:], kept.Key)
	for what, q := range map[string]enrollRequest{
		"another CSR":              {good.Token, []byte("his CSR"), good.Proof},
		"another token":            {other.ID(), good.CSR, good.Proof},
		"no proof":                 {good.Token, good.CSR, nil},
		"a proof that is cut":      {good.Token, good.CSR, good.Proof[:63]},
		"signed with what is kept": *asked(t, thief),
	} {
		if _, err := ts.check(&q, time.Now()); !errors.Is(err, errUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	signed, err := pki.SignDocumentAs(made.key(), "enrolment/1", good.text())
	must(t, err)
	if _, err := ts.check(&enrollRequest{good.Token, good.CSR, signed}, time.Now()); !errors.Is(err, errUnknown) {
		t.Errorf("signed for another version: %v", err)
	}
}

// TestATokenOfTheVersionBeforeIsVoidAndSaysSo: its record has a hash and no key.
func TestATokenOfTheVersionBeforeIsVoidAndSaysSo(t *testing.T) {
	ts := OpenTokens(t.TempDir())
	made, err := ts.Create(someGrant(t))
	must(t, err)
	path := ts.path(made.ID(), tokenSuffix)
	text, err := os.ReadFile(path)
	must(t, err)
	hash := sha256.Sum256(made.secret[:])
	var r record
	must(t, strictJSON(text, &r))
	r.Key, r.Hash = nil, hash[:]
	text, err = json.Marshal(r)
	must(t, err)
	must(t, os.WriteFile(path, text, 0o600))
	if _, err := ts.check(asked(t, made), time.Now()); !errors.Is(err, errBefore) {
		t.Errorf("%v", err)
	}
	if list, err := ts.List(); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	must(t, ts.Remove(made.ID()))
}

func TestOfManyWhoUseATokenAtOnceOneSucceeds(t *testing.T) {
	dir := t.TempDir()
	for range 20 {
		made, err := OpenTokens(dir).Create(someGrant(t))
		must(t, err)
		var wins sync.Map
		var all sync.WaitGroup
		for i := range 16 {
			q, err := made.request([]byte{byte(i)})
			must(t, err)
			all.Go(func() {
				ts := OpenTokens(dir)
				r, err := ts.check(&q, time.Now())
				if err == nil && ts.use(&q, r) == nil {
					wins.Store(i, true)
				}
			})
		}
		all.Wait()
		n := 0
		wins.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Fatalf("%d succeeded", n)
		}
	}
}

func TestWhatIsKeptOfATokenDoesNotMakeOne(t *testing.T) {
	dir := t.TempDir()
	ts := OpenTokens(dir)
	made, err := ts.Create(someGrant(t))
	must(t, err)
	path := ts.path(made.ID(), tokenSuffix)
	text, err := os.ReadFile(path)
	must(t, err)
	for what, secret := range map[string]string{"the token": made.Text()[10:40], "its secret": string(made.secret[:])} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s lies in its record", what)
		}
	}
	for path, mode := range map[string]os.FileMode{path: 0o600, ts.dir: 0o700} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
	}
}

func TestNoIDLeavesTheDirectory(t *testing.T) {
	ts := OpenTokens(t.TempDir())
	must(t, os.WriteFile(filepath.Join(filepath.Dir(ts.dir), "x.token"), []byte(`{}`), 0o600))
	for _, id := range []string{"", "../x", "..", "a/b", strings.Repeat("0", 15), strings.Repeat("0", 17), "ABCDEF0123456789", "0123456789abcde\x00"} {
		if _, err := ts.check(&enrollRequest{Token: id}, time.Now()); !errors.Is(err, errUnknown) {
			t.Errorf("%q: %v", id, err)
		}
		if err := ts.Remove(id); !errors.Is(err, ErrNoToken) {
			t.Errorf("revoke %q: %v", id, err)
		}
	}
}

func TestTokensAreListedRevokedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := OpenTokens(t.TempDir())
		if list, err := ts.List(); err != nil || len(list) != 0 {
			t.Fatalf("%v, %v", list, err)
		}
		var ids []string
		var made []Token
		for range 4 {
			token, err := ts.Create(someGrant(t))
			must(t, err)
			ids, made = append(ids, token.ID()), append(made, token)
			time.Sleep(20 * time.Minute)
		}
		q := asked(t, made[1])
		r, err := ts.read(ids[1], tokenSuffix)
		must(t, err)
		must(t, ts.use(q, r))
		must(t, ts.Remove(ids[2]))
		if err := ts.Remove(ids[1]); !errors.Is(err, ErrNoToken) {
			t.Errorf("a used one is revoked: %v", err)
		}
		// A crash before the file of an open one was removed changes nothing.
		must(t, os.Link(ts.path(ids[1], usedSuffix), ts.path(ids[1], tokenSuffix)))
		if err := ts.Remove(ids[1]); !errors.Is(err, ErrNoToken) {
			t.Errorf("a used one is revoked after a crash: %v", err)
		}
		list, err := ts.List()
		must(t, err)
		got := map[string]State{}
		for _, l := range list {
			got[l.ID] = l.State
		}
		if len(got) != 3 || got[ids[0]] != Expired || got[ids[1]] != Used || got[ids[3]] != Open {
			t.Errorf("%v of %v", got, ids)
		}
		time.Sleep(remember + 2*time.Hour)
		_, err = ts.Create(someGrant(t))
		must(t, err)
		if list, err = ts.List(); err != nil || len(list) != 1 {
			t.Errorf("%v, %v remain", list, err)
		}
	})
}

func TestNoTokenIsGoodForLong(t *testing.T) {
	ts := OpenTokens(t.TempDir())
	for _, ttl := range []time.Duration{0, -1, MaxTTL + 1} {
		g := someGrant(t)
		g.TTL = ttl
		if _, err := ts.Create(g); err == nil {
			t.Errorf("%s is taken", ttl)
		}
	}
}

func TestGuessersAreSlowedDownBySourceAndInAll(t *testing.T) {
	var g guesses
	now := time.Now()
	guess := func(from netip.Addr, at time.Time) bool {
		return !errors.Is(g.try(from, at, func() error { return errUnknown }), errTooMany)
	}
	a := netip.MustParseAddr("10.0.0.1")
	for i := range guessesEach {
		if !guess(a, now) {
			t.Fatalf("try %d is refused", i)
		}
	}
	if guess(a, now) || g.try(a, now, func() error { return nil }) == nil {
		t.Error("one source guesses on")
	}
	for range 2 * guessesEach { // these don't guess
		must(t, g.try(netip.MustParseAddr("10.0.0.2"), now, func() error { return nil }))
		if err := g.try(netip.MustParseAddr("10.0.0.2"), now, func() error { return errUsed }); !errors.Is(err, errUsed) {
			t.Error(err)
		}
	}
	tries := guessesEach
	for i := range 255 {
		for range guessesEach {
			if guess(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), now) {
				tries++
			}
		}
	}
	if tries != guessesAll || len(g.each) > guessesAll {
		t.Errorf("%d tries in all, %d sources remembered", tries, len(g.each))
	}
	if !guess(a, now.Add(guessWindow)) {
		t.Error("a minute later it is still refused")
	}
	// An IPv6 host has 2^64 addresses.
	g = guesses{}
	n := 0
	for i := range 20 {
		if guess(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), now) {
			n++
		}
	}
	if n != guessesEach {
		t.Errorf("an IPv6 host has %d tries", n)
	}
}
