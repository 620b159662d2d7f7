//go:build slow

package scan_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// scan runs a scanner. Its exit code says how much it found, or nothing.
func scan(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if len(out) == 0 || ctx.Err() != nil {
		t.Fatalf("%v: %v, %v (Debian's sslscan, nmap and testssl.sh are needed)\n%s", args, err, ctx.Err(), out)
	}
	return string(out)
}

// line says whether a line consists of, or begins with, these words.
func line(text string, words ...string) bool {
	for l := range strings.Lines(text) {
		if fields := strings.Fields(strings.TrimLeft(l, "|_ ")); len(fields) >= len(words) && slices.Equal(fields[:len(words)], words) {
			return true
		}
	}
	return false
}

func TestSSLScanFindsNothingWeak(t *testing.T) {
	find := func(to target) (weak []string) {
		args := []string{"sslscan", "--no-colour", to.address}
		if to.host != "" { // as the rightful host, so that nothing is hidden from it
			args = []string{"sslscan", "--no-colour", "--certs=" + to.host, "--pk=" + to.host, to.address}
		}
		out := scan(t, args...)
		if !line(out, "TLSv1.3", "enabled") {
			t.Fatalf("it didn't get as far as TLS 1.3:\n%s", out)
		}
		for _, protocol := range []string{"SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2"} {
			if line(out, protocol, "enabled") {
				weak = append(weak, protocol)
			} else if !line(out, protocol, "disabled") {
				t.Fatalf("nothing about %s:\n%s", protocol, out)
			}
		}
		for l := range strings.Lines(out) {
			fields := strings.Fields(l)
			suite := len(fields) > 4 && (fields[0] == "Accepted" || fields[0] == "Preferred")
			if suite && !slices.Contains([]string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}, fields[4]) {
				weak = append(weak, fields[4])
			}
			if group := strings.Join(fields, " "); strings.HasPrefix(group, "TLSv1.") && strings.Contains(group, " bits ") &&
				!strings.Contains(group, "secp256r1") && !strings.Contains(group, "x25519") {
				weak = append(weak, group)
			}
		}
		if !strings.Contains(out, "Session renegotiation not supported") {
			weak = append(weak, "renegotiation")
		}
		return weak
	}
	if weak := find(gateway(t)); len(weak) != 0 {
		t.Errorf("at the gateway: %v", weak)
	}
	weak := find(weakOpenSSL(t, "-rev"))
	for _, fault := range []string{"TLSv1.0", "TLSv1.1", "TLSv1.2", "TLS_AES_128_CCM_8_SHA256", "ADH-AES256-SHA", "NULL-MD5", "TLSv1.3 260 bits secp521r1 (NIST P-521)", "renegotiation"} {
		if !slices.Contains(weak, fault) {
			t.Errorf("it doesn't see %s at the control: %v", fault, weak)
		}
	}
}

func TestNmapGivesAnAAndFindsOneProtocol(t *testing.T) {
	run := func(to target) string {
		host, port, err := net.SplitHostPort(to.address)
		must(t, err)
		return scan(t, "nmap", "-Pn", "-n", "-p", port, "--script", "ssl-enum-ciphers,ssl-dh-params,ssl-heartbleed,ssl-poodle,ssl-ccs-injection,sslv2", host)
	}
	out := run(gateway(t))
	if !line(out, "TLSv1.3:") || !line(out, "least", "strength:", "A") {
		t.Errorf("at the gateway:\n%s", out)
	}
	for _, fault := range []string{"SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "warnings", "VULNERABLE"} {
		if strings.Contains(out, fault) {
			t.Errorf("%s at the gateway:\n%s", fault, out)
		}
	}
	out = run(weakNSS(t))
	for _, fault := range []string{"SSLv3:", "TLSv1.0:", "TLSv1.1:", "TLSv1.2:", "TLS_RSA_WITH_RC4_128_MD5", "least strength: F", "State: LIKELY VULNERABLE"} {
		if !strings.Contains(out, fault) {
			t.Errorf("it doesn't see %s at the control:\n%s", fault, out)
		}
	}
}

// finding is a line of testssl.sh's report.
type finding struct{ ID, Severity, Finding string }

func testssl(t *testing.T, to target) map[string]finding {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	args := []string{"testssl", "--color", "0", "--warnings", "off", "--quiet", "--ip", "one", "--jsonfile", file,
		"-p", "-s", "-f", "-S", "-U"} // protocols, kinds of suites, forward secrecy, the server's defaults, vulnerabilities
	if to.ca != "" {
		args = append(args, "--add-ca", to.ca)
	}
	out := scan(t, append(args, to.address)...)
	text, err := os.ReadFile(file)
	must(t, err)
	var list []finding
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatalf("its report: %v\n%s", err, out)
	}
	found := map[string]finding{}
	for _, f := range list {
		if old, twice := found[f.ID]; !twice || old.Severity == "OK" {
			found[f.ID] = f
		}
	}
	if _, done := found["scanTime"]; !done || len(found) < 40 {
		t.Fatalf("it gave up:\n%s", out)
	}
	return found
}

// accepted are testssl.sh's complaints that aren't faults here, each for its reason.
var accepted = map[string]string{
	"engine_problem":        "of this OpenSSL, not of the server",
	"optimal_proto":         "its s_client has no certificate to show, and is sent away",
	"service":               "no HTTP",
	"cert_revocation":       "the list comes by our own way, not from a URL in the certificate",
	"cert_expirationStatus": "short lives are the intention",
	"cert_notAfter":         "likewise",
	"DNS_CAArecord":         "no public CA",
}

func TestTestsslComplainsOfNothing(t *testing.T) {
	t.Run("gateway", func(t *testing.T) {
		t.Parallel()
		found := testssl(t, gateway(t))
		for id, f := range found {
			if f.Severity != "OK" && f.Severity != "INFO" && accepted[id] == "" {
				t.Errorf("%s: %s: %s", f.Severity, id, f.Finding)
			}
		}
		for _, id := range []string{"SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT", "cipherlist_LOW", "cipherlist_3DES_IDEA", "cipherlist_AVERAGE"} {
			if f := found[id]; f.Finding != "not offered" {
				t.Errorf("%s: %q", id, f.Finding)
			}
		}
		for id, want := range map[string]string{
			"TLS1_3": "offered", "PFS": "offered", "sessionresumption_ticket": "not supported", "sessionresumption_ID": "no resumption",
			"secure_client_renego": "not vulnerable", "CRIME_TLS": "not vulnerable", "heartbleed": "not vulnerable", "cert_trust": "SAN",
		} {
			if f := found[id]; !strings.Contains(f.Finding, want) {
				t.Errorf("%s: %q, want %q", id, f.Finding, want)
			}
		}
	})
	t.Run("control", func(t *testing.T) {
		t.Parallel()
		found := testssl(t, weakNSS(t))
		for _, id := range []string{"SSLv3", "TLS1", "TLS1_1", "cipherlist_LOW", "cipherlist_3DES_IDEA", "cert_keySize", "cert_signatureAlgorithm", "cert_chain_of_trust", "secure_client_renego", "POODLE_SSL", "SWEET32", "RC4"} {
			if f, ok := found[id]; !ok || f.Severity == "OK" || f.Severity == "INFO" {
				t.Errorf("it doesn't complain of %s: %+v", id, f)
			}
		}
	})
}
