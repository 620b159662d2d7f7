//go:build slow

// Package scan_test puts a gateway's real port before scanners that aren't
// ours (sslscan, nmap's ssl-enum-ciphers, testssl.sh) and before every attempt
// at something weaker that OpenSSL can be brought to make.
//
// Each claim is made beside a control: a server that is weak on purpose, at
// which the same scanner must find the fault and the same attempt must get
// through. Debian's OpenSSL speaks no SSL 3.0, RC4 or 3DES any more, so there
// are two: openssl s_server with all that it still can, and NSS's selfserv.
//
// What the policy is, and why, is in internal/tunnel and docs/decisions/0020;
// its source is NIST SP 800-52 rev. 2.
package scan_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// target is a TLS server, and what its rightful client shows.
type target struct {
	address string
	host    string // tls.pem of an application host
	ca      string
}

func gateway(t *testing.T) target {
	t.Helper()
	d := lab.Up(t)
	return target{d.Gateway, filepath.Join(d.Dir, "sidecar", "tls.pem"), filepath.Join(d.Dir, "sidecar", "ca.crt")}
}

// weakConf lifts Debian's own floor for OpenSSL's programs, at both ends.
const weakConf = `openssl_conf = conf
[conf]
ssl_conf = ssl
[ssl]
system_default = weak
[weak]
MinProtocol = None
CipherString = ALL:COMPLEMENTOFALL:@SECLEVEL=0
Options = UnsafeLegacyRenegotiation,ClientRenegotiation
`

// openssl is the program without that floor.
func openssl(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "weak.cnf")
	must(t, os.WriteFile(conf, []byte(weakConf), 0o644))
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+conf)
	return cmd
}

// weakPair is a certificate that signs itself, with RSA of 1024 bits and SHA-1
// or a sound one for ECDSA, so that suites of both kinds can be had.
func weakPair(t *testing.T, kind string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")
	args := []string{"req", "-x509", "-nodes", "-subj", "/CN=weak", "-days", "2", "-keyout", key, "-out", cert}
	if kind == "rsa" {
		args = append(args, "-newkey", "rsa:1024", "-sha1")
	} else {
		args = append(args, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	}
	cmd := openssl(t, args...)
	cmd.Env = os.Environ() // "req" wants the usual file
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl req: %v\n%s", err, out)
	}
	return cert, key
}

// weakOpenSSL takes everything that OpenSSL still has, from anybody, and
// answers each line with its reverse; with early data it can only be silent.
func weakOpenSSL(t *testing.T, mode string) target {
	t.Helper()
	rsaCert, rsaKey := weakPair(t, "rsa")
	ecCert, ecKey := weakPair(t, "ec")
	cmd := openssl(t, "s_server", "-accept", "127.0.0.1:0", mode,
		"-cert", rsaCert, "-key", rsaKey, "-dcert", ecCert, "-dkey", ecKey,
		"-min_protocol", "None", "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0",
		"-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_8_SHA256:TLS_AES_128_CCM_SHA256",
		"-groups", "P-256:X25519:sect163k1:secp192r1:secp224r1:P-384:P-521:X448:ffdhe2048:ffdhe3072",
		"-legacy_renegotiation", "-client_renegotiation")
	stdin, err := cmd.StdinPipe() // its end would be the server's
	must(t, err)
	t.Cleanup(func() { stdin.Close() })
	p := lab.Start(t, cmd, "ACCEPT ")
	where := regexp.MustCompile(`ACCEPT (\S+:\d+)`).FindStringSubmatch(p.Output())
	if where == nil {
		t.Fatalf("s_server doesn't say where it listens:\n%s", p.Output())
	}
	return target{address: where[1]}
}

// weakNSS has SSL 3.0, RC4 and 3DES.
func weakNSS(t *testing.T) target {
	t.Helper()
	cert, key := weakPair(t, "rsa")
	db, p12 := t.TempDir(), filepath.Join(t.TempDir(), "weak.p12")
	for _, args := range [][]string{
		{"openssl", "pkcs12", "-export", "-in", cert, "-inkey", key, "-name", "weak", "-passout", "pass:x", "-out", p12},
		{"certutil", "-N", "-d", db, "--empty-password"},
		{"pk12util", "-i", p12, "-d", db, "-W", "x", "-K", ""},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v (Debian's libnss3-tools is needed)\n%s", args, err, out)
		}
	}
	port := freePort(t)
	// The suites: RSA with 3DES, RC4-SHA, RC4-MD5, AES-CBC.
	cmd := exec.CommandContext(t.Context(), "selfserv", "-d", db, "-n", "weak", "-p", port, "-V", "ssl3:tls1.2", "-c", ":000A:0005:0004:002F", "-v")
	cmd.Env = append(os.Environ(), "NSS_IGNORE_SYSTEM_POLICY=1")
	lab.Start(t, cmd, "About to call accept")
	return target{address: "127.0.0.1:" + port}
}

// freePort is one that nobody has now; selfserv can't say which it took. It is
// below those that the kernel gives to connections, of which scanners make many.
func freePort(t *testing.T) string {
	t.Helper()
	for port := 20000 + os.Getpid()%5000; port < 32000; port++ {
		if l, err := net.Listen("tcp", fmt.Sprint(":", port)); err == nil {
			l.Close()
			return fmt.Sprint(port)
		}
	}
	t.Fatal("no port is free")
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
