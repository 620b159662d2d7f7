package pki_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

const passphrase = "correct horse battery staple"

func with(passphrase string) pki.Unlock {
	return func() ([]byte, error) { return []byte(passphrase), nil }
}

func TestAnEncryptedKeyNeedsItsPassphrase(t *testing.T) {
	dir := t.TempDir()
	created, err := pki.Create(dir, "clinic", pki.Options{Passphrase: []byte(passphrase)})
	must(t, err)
	must(t, pki.Lighten(dir, passphrase))
	issue(t, created, pki.Request{ID: id(t, "spiffe://clinic/app/web")})
	_, err = pki.Open(dir, with("incorrect horse battery"))
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "ca.key")) || !strings.Contains(err.Error(), "passphrase is wrong") {
		t.Errorf("a wrong passphrase: %v", err)
	}
	locked, err := pki.Open(dir, nil)
	must(t, err)
	if !locked.Locked() || len(serials(t, locked)) != 1 {
		t.Error("without a passphrase nothing is seen")
	}
	if _, err := locked.Issue(pki.Request{ID: id(t, "spiffe://clinic/app/web")}); err == nil || !strings.Contains(err.Error(), "passphrase is needed") {
		t.Errorf("locked, it signs: %v", err)
	}
	if _, err := locked.Revocations(); err != nil {
		t.Errorf("locked, its list can't be read: %v", err)
	}
	open, err := pki.Open(dir, with(passphrase))
	must(t, err)
	if open.Locked() {
		t.Error("with its passphrase it is locked")
	}
	// The next root's key gets the same passphrase, and other processes find it.
	must(t, open.StartRotation(pki.Options{}))
	must(t, open.SwitchRoot(true))
	text, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	must(t, err)
	if n := bytes.Count(text, []byte("BEGIN ENCRYPTED PRIVATE KEY")); n != 2 || bytes.Contains(text, []byte("BEGIN PRIVATE")) {
		t.Errorf("%d encrypted keys:\n%s", n, text)
	}
	if err := under(issue(t, created, pki.Request{ID: id(t, "spiffe://clinic/app/web")}), open.Roots()[1]); err != nil {
		t.Errorf("the first process signs with the old root: %v", err)
	}
}

func TestAPassphraseCanBeChangedUnderAProcessThatSigns(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.Create(dir, "clinic", pki.Options{Passphrase: []byte(passphrase)})
	must(t, err)
	must(t, pki.Lighten(dir, passphrase))
	const next = "a passphrase that comes after"
	asked := passphrase
	gateway, err := pki.Open(dir, func() ([]byte, error) { return []byte(asked), nil })
	must(t, err)
	must(t, ca.ChangePassphrase([]byte(next)))
	web := pki.Request{ID: id(t, "spiffe://clinic/app/web")}
	if _, err := gateway.Issue(web); err == nil || !strings.Contains(err.Error(), "passphrase is wrong") {
		t.Errorf("with the old passphrase in its file: %v", err)
	}
	asked = next
	issue(t, gateway, web)
	issue(t, ca, web)
	if _, err := pki.Open(dir, with(passphrase)); err == nil {
		t.Error("the old passphrase still opens it")
	}
}

// TestAPassphraseThatChangedUnderUsIsSeen: two keys under two passphrases would
// lock everybody out.
func TestAPassphraseThatChangedUnderUsIsSeen(t *testing.T) {
	dir := t.TempDir()
	_, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	must(t, pki.Lighten(dir, passphrase))
	now := passphrase
	ca, err := pki.Open(dir, func() ([]byte, error) { return []byte(now), nil })
	must(t, err)
	now = "another one that is long enough"
	if err := ca.StartRotation(pki.Options{}); err == nil || !strings.Contains(err.Error(), "passphrase is wrong") {
		t.Errorf("got %v", err)
	}
	if _, err := pki.Open(dir, with(passphrase)); err != nil {
		t.Errorf("the key is lost: %v", err)
	}
}

// TestAKeyThatWasTouchedIsNeverAnotherKey: what is used is the key of ca.crt, or
// none. (What changes nothing but the copy of the public key in it is harmless.)
func TestAKeyThatWasTouchedIsNeverAnotherKey(t *testing.T) {
	dir := t.TempDir()
	made, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	must(t, pki.Lighten(dir, passphrase))
	path := filepath.Join(dir, "ca.key")
	good, err := os.ReadFile(path)
	must(t, err)
	refused := 0
	for i := bytes.IndexByte(good, '\n') + 1; i < len(good)-40; i += 43 {
		bad := bytes.Clone(good)
		if bad[i]++; bad[i] > 'z' || good[i] == '\n' {
			bad[i] = 'A'
		}
		must(t, os.WriteFile(path, bad, 0o600))
		ca, err := pki.Open(dir, with(passphrase))
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), path) {
				t.Errorf("byte %d was changed: %v", i, err)
			}
		} else if err := under(issue(t, ca, pki.Request{ID: id(t, "spiffe://clinic/app/web")}), made.Certificate()); err != nil {
			t.Errorf("byte %d was changed: %v", i, err)
		}
	}
	if refused < 4 {
		t.Errorf("only %d were refused", refused)
	}
}

// TestOpenSSLAndWeReadEachOthersKeys, so that the CA outlives this program.
func TestOpenSSLAndWeReadEachOthersKeys(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.Create(dir, "clinic", pki.Options{Passphrase: []byte(passphrase)})
	must(t, err)
	path := filepath.Join(dir, "ca.key")
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Env = append(os.Environ(), "PASS="+passphrase)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	openssl("pkcs8", "-topk8", "-in", path, "-passin", "env:PASS", "-out", path+".new", "-passout", "env:PASS",
		"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256", "-iter", "2048")
	must(t, os.Rename(path+".new", path))
	must(t, os.Chmod(path, 0o600))
	again, err := pki.Open(dir, with(passphrase))
	if fips140.Enforced() { // openssl's salts have 8 bytes, SP 800-132 wants 16, as ours have
		if err == nil || !strings.Contains(err.Error(), "salts shorter than 128 bits") {
			t.Errorf("in FIPS 140-only mode: %v", err)
		}
		return
	}
	must(t, err)
	if err := under(issue(t, again, pki.Request{ID: id(t, "spiffe://clinic/app/web")}), ca.Certificate()); err != nil {
		t.Error(err)
	}
	// Another way of encrypting is told as what it is.
	openssl("pkcs8", "-topk8", "-in", path, "-passin", "env:PASS", "-out", path+".new", "-passout", "env:PASS", "-v2", "aes-128-cbc")
	must(t, os.Rename(path+".new", path))
	must(t, os.Chmod(path, 0o600))
	if _, err := pki.Open(dir, with(passphrase)); err == nil || !strings.Contains(err.Error(), "AES-256-CBC") {
		t.Errorf("got %v", err)
	}
	// And one that would take a day is not begun.
	openssl("pkcs8", "-topk8", "-in", path, "-passin", "env:PASS", "-out", path+".new", "-passout", "env:PASS",
		"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256", "-iter", "10000001")
	must(t, os.Rename(path+".new", path))
	must(t, os.Chmod(path, 0o600))
	if _, err := pki.Open(dir, with(passphrase)); err == nil || !strings.Contains(err.Error(), "iterations") {
		t.Errorf("got %v", err)
	}
}

func TestAShortPassphraseIsRefused(t *testing.T) {
	dir := t.TempDir()
	_, err := pki.Create(dir, "clinic", pki.Options{Passphrase: []byte("hunter2hunter2")})
	if err == nil || !strings.Contains(err.Error(), "15 or more") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("got %v", err)
	}
}

func TestEveryKindOfKeyWorks(t *testing.T) {
	for kind, is := range map[pki.KeyType]string{pki.ECDSA: "ECDSA P-256", pki.RSA: "RSA 4096", pki.Ed25519: "Ed25519"} {
		dir, host := t.TempDir(), t.TempDir()
		ca, err := pki.Create(dir, "clinic", pki.Options{Key: kind})
		must(t, err)
		leaf, err := ca.Issue(pki.Request{ID: id(t, "spiffe://clinic/app/web"), Key: kind})
		must(t, err)
		must(t, leaf.Save(host))
		for _, cert := range []*x509.Certificate{ca.Certificate(), leaf.Certificate()} {
			if got := pki.Describe(cert, cert.NotBefore).KeyType; got != is {
				t.Errorf("%s: a key of type %s", kind, got)
			}
		}
		_, err = ca.Revoke(id(t, "spiffe://clinic/app/other")) // the ledger is signed and read with it too
		must(t, err)
		if out, err := exec.Command("openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", filepath.Join(dir, "revoked.crl"),
			"-CAfile", filepath.Join(host, "ca.crt"), filepath.Join(host, "tls.pem")).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", kind, err, out)
		}
	}
	if _, err := pki.Create(t.TempDir(), "clinic", pki.Options{Key: "dsa"}); err == nil {
		t.Error("a key of type dsa was made")
	}
}
