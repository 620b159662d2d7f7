package host

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestSecretsAreKnownByWhatIsInAFile, in the forms that keys and passwords really have;
// what looks like one and isn't stays out.
func TestSecretsAreKnownByWhatIsInAFile(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	indented := "tls:\n  key: |\n    " + strings.ReplaceAll(text, "\n", "\n    ")
	psk := hex.EncodeToString([]byte(strings.Repeat("k", 32)))
	secrets := map[string]string{
		"a key": text, "a key behind its certificate": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" + text,
		"a key in YAML": indented, "a key in JSON": `{"private_key": "` + strings.ReplaceAll(text, "\n", `\n`) + `"}`,
		"an encrypted key of old": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAAAAAAAAAAAAAAAAAA\n-----END RSA PRIVATE KEY-----\n",
		"OpenPGP":                 "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA", "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519\n",
		"PKCS #8": string(pkcs8), "PKCS #1": string(x509.MarshalPKCS1PrivateKey(rsaKey)), "SEC 1": string(sec1),
		"encrypted PKCS #8": openssl(t, text, "pkcs8", "-topk8", "-outform", "DER", "-passout", "pass:x"),
		"PKCS #12":          pkcs12(t, text, true), "PKCS #12 of old": pkcs12(t, text, true, "-legacy"),
		"redis.conf": "port 0\nRequirePass foobared\n", "a replica's": "  masterauth \"foobared\"\n", "sentinel.conf": "sentinel monitor m 127.0.0.1 6379 2\nsentinel auth-pass mymaster foobared\n",
		"a sentinel's own": "sentinel sentinel-pass foobared\n", "users.acl": "user app on ~* +@all >foobared\n", "a key's passphrase": "tls-key-file-pass foobared\n",
		"app.env": "REDIS_URL=redis://:foobared@127.0.0.1:6379/0\n", "with a name": "url: rediss://app:foobared@cache:6380\n", "in Valkey's words": `{"url":"valkey://:foobared@h"}`,
		"in a query": "redis://h:6379?db=1&password=foobared\n", "with a scheme of Celery's": "broker = redis+sentinel://:foobared@h:26379\n",
		"a variable": "export REDIS_PASSWORD='foobared'\n", "redis-cli's": "REDISCLI_AUTH=foobared\n", "Spring's": "spring.redis.password=foobared\n", "YAML": "redis_password: foobared\n",
		"psk.txt": "# stunnel\nweb-1:" + psk + "\nweb-2:" + psk + "\n",
	}
	for name, text := range secrets {
		if !holdsSecret([]byte(text)) {
			t.Errorf("%s: not found", name)
		}
	}
	for _, name := range []string{"redis.conf", "a replica's", "sentinel.conf", "a sentinel's own", "users.acl", "a key's passphrase", "app.env", "in a query", "a variable", "in Valkey's words"} {
		if !holdsSecret([]byte(strings.ToUpper(secrets[name]))) {
			t.Errorf("%s, in capitals: not found", name)
		}
	}
	for name, text := range map[string]string{
		"an empty file": "", "a comment": "# requirepass foobared\n  #user app on >foobared\n# redis://:foobared@h\n", "no password": "requirepass \"\"\nREDIS_PASSWORD=\nREDIS_PASSWORD=${SECRET}\nredis_auth: true\n",
		"a URL without": "redis://127.0.0.1:6379/0\nredis://app@h/0\nhttp://u:p@h\n", "a place for one": "redis://:${REDIS_PASSWORD}@h redis://:<password>@h\n", "a digest": "user app on ~* +@all #" + psk + "\n",
		"about keys":    "A file begins with -----BEGIN PRIVATE KEY----- then.\n",
		"a certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
		"a public key":  string(publicDER(t, ed.Public())),
		"a truststore":  pkcs12(t, text, false),
		"checksums":     "sha256:" + psk + "\n", "passwd": "root:x:0:0:root:/root:/bin/bash\n", "where it is": "REDIS_PASSWORD=/run/secrets/redis\nredis_password_file: /run/x\n",
		"DER of nothing": "\x30\x82\x01\x00" + strings.Repeat("\x00", 300), "one byte": "\x30",
	} {
		if holdsSecret([]byte(text)) {
			t.Errorf("%s: taken for a secret", name)
		}
	}
}

func publicDER(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func openssl(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v (Debian's openssl is needed)", strings.Join(args, " "), err)
	}
	return string(out)
}

// pkcs12 has a certificate, and its key or not.
func pkcs12(t *testing.T, key string, withKey bool, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate := openssl(t, "", "req", "-x509", "-key", path, "-subj", "/CN=x", "-days", "1")
	both := filepath.Join(t.TempDir(), "both")
	if err := os.WriteFile(both, []byte(certificate+key), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"pkcs12", "-export", "-passout", "pass:x", "-in", both}, more...)
	if !withKey {
		args = append(args, "-nokeys")
	}
	return openssl(t, "", args...)
}

// TestStrewnIsBoundedAndSaysSo: what was not looked at is named, and nothing holds it up.
func TestStrewnIsBoundedAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	deep := strings.Repeat("d/", strewnDepth+1)
	write(deep+"redis.conf", "requirepass foobared\n")
	write("stunnel.conf", "PSKsecrets = "+filepath.Join(dir, "keys")+"\n")
	write("keys", "web-1:a key in words, which nothing but its use tells\n")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	found, _, left, err := Strewn(dir)
	if err != nil || !slices.Equal(found, []string{filepath.Join(dir, "keys")}) || len(left) != 1 || !strings.Contains(left[0], "too deep") {
		t.Errorf("%q, left %q, %v", found, left, err)
	}
	large := filepath.Join(dir, "large")
	write("large", "x")
	if err := os.Truncate(large, strewnSize+1); err != nil {
		t.Fatal(err)
	}
	if _, _, left, _ := Strewn(dir); len(left) != 2 {
		t.Errorf("%q", left)
	}
}

// FuzzHoldsSecret: whatever a file holds, it is judged.
func FuzzHoldsSecret(f *testing.F) {
	for _, seed := range []string{"-----BEGIN PRIVATE KEY-----\n", "redis://:x@h", "a:00112233445566778899aabbccddeeff", "\x30\x80\x02\x01\x03", "requirepass x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) { holdsSecret(text) })
}
