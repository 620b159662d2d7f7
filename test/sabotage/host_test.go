package sabotage_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// soundHost is what a host has that is set up well, where the machine that the tests
// run on may not be.
func soundHost(t *testing.T) []instead {
	t.Helper()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // which sshd's unit makes
		t.Fatal(err)
	}
	sound := []instead{
		{path: at("/proc/sys/kernel"), files: kernelSettings()},
		{path: at("/proc/swaps"), to: "Filename Type Size Used Priority\n"},
		{path: at(sshdConfig), to: host.SSHDropIn()},
	}
	const testssl = "/etc/testssl/tls_data.txt" // which has keys to test with
	if _, err := os.Stat(testssl); err == nil {
		sound = append(sound, instead{path: at(testssl), to: "nothing\n"})
	}
	return sound
}

// kernelSettings are those that redoubt render sysctl sets: what it prints is what the
// checks ask for.
func kernelSettings() map[string]string {
	files := map[string]string{}
	for line := range strings.Lines(host.SysctlDropIn) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if kernel, is := strings.CutPrefix(name, "kernel."); ok && is {
			files[strings.ReplaceAll(kernel, ".", "/")] = value + "\n"
		}
	}
	return files
}

// keyDER is a private key that opens nothing.
func keyDER() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	return der
}

func keyPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER()}))
}

const sshdConfig = "/etc/ssh/sshd_config"

func at(path string) func(*deployment) string { return func(*deployment) string { return path } }

func hostSabotages() []sabotage {
	ssh := func(id, how, from, to string) sabotage {
		return sabotage{id: id, from: evidence.CacheHost, how: how, over: []instead{{path: at(sshdConfig), from: from, to: to}}}
	}
	match := func(id, criteria, keyword string) sabotage {
		return ssh(id, "ssh: Match "+criteria+", "+keyword, "$", "Match "+criteria+"\n\t"+keyword+"\n")
	}
	passwd := func(how, line string) sabotage {
		return sabotage{id: "RD-125", from: evidence.CacheHost, how: how, over: []instead{{path: at("/etc/passwd"), from: "$", to: line + "\n"}}}
	}
	file := func(id, how, path, text string) sabotage {
		return sabotage{id: id, from: evidence.CacheHost, how: how, over: []instead{{path: at(path), to: text}}}
	}
	strewn := func(what, name, text string) sabotage {
		return sabotage{id: "RD-214", from: evidence.CacheHost, how: "everybody can read " + what, over: []instead{{path: at("/etc/stunnel"), files: map[string]string{name: text}}}}
	}
	return []sabotage{
		file("RD-130", "every interface takes packets for the loopback", "/proc/sys/net/ipv4/conf/all/route_localnet", "1\n"),
		ssh("RD-121", "ssh takes passwords", "PasswordAuthentication no", "PasswordAuthentication yes"),
		ssh("RD-121", "ssh takes passwords, in a Match block", "$", "Match Address 192.0.2.0/24\nPasswordAuthentication yes\n"),
		match("RD-121", "User alice", "PasswordAuthentication yes"),
		match("RD-121", "User dep*,!deploy", "KbdInteractiveAuthentication yes"),
		match("RD-121", "Group backup", "PasswordAuthentication yes"),
		match("RD-121", "Address 10.50.0.0/16", "PasswordAuthentication yes"),
		match("RD-121", "LocalAddress 127.0.0.1", "PasswordAuthentication yes"),
		match("RD-121", "LocalPort 2222", "PasswordAuthentication yes"),
		match("RD-121", "RDomain mgmt User carol", "PasswordAuthentication yes"),
		{id: "RD-121", from: evidence.CacheHost, how: "ssh takes passwords by a file whose name comes first", over: []instead{
			{path: at(sshdConfig), from: "^", to: "Include /etc/ssh/sshd_config.d/*.conf\n"},
			{path: at("/etc/ssh/sshd_config.d"), files: map[string]string{"00-custom.conf": "Match Address 10.50.0.0/16\n\tPasswordAuthentication yes\n"}},
		}},
		{id: "RD-121", from: evidence.CacheHost, how: "the sshd that runs was started with -o PasswordAuthentication=yes", over: []instead{
			{path: ofGateway("comm"), to: "sshd\n"},
			{path: ofGateway("cmdline"), to: "sshd: /usr/sbin/sshd -D -o PasswordAuthentication=yes [listener] 0 of 10-100 startups\x00"},
		}},
		match("RD-122", "Address 10.50.0.0/16", "PermitRootLogin yes"),
		match("RD-122", "Group root", "PermitRootLogin prohibit-password"),
		match("RD-123", "User deploy", "AllowTcpForwarding yes"),
		match("RD-123", "Group backup", "PermitTunnel yes"),
		match("RD-124", "Address 10.50.0.0/16", "PubkeyAcceptedAlgorithms +ssh-rsa"),
		ssh("RD-122", "ssh lets root in with a key", "PermitRootLogin no", "PermitRootLogin prohibit-password"),
		ssh("RD-123", "ssh forwards ports", "AllowTcpForwarding no", "AllowTcpForwarding yes"),
		ssh("RD-124", "ssh offers CBC", "Ciphers .*", "Ciphers +aes256-cbc"),
		passwd("root has a second name", "toor:x:0:0::/:/bin/sh"),
		passwd("root has a second name, whose id is written 00", "toor:x:00:0::/root:/bin/bash"),
		passwd("root has a second name, whose id is written +0", "toor:x:+0:1::/root:/bin/bash"),
		passwd("root has a second name, whose id is written 0x0", "toor:x:0x0:1::/root:/bin/bash"),
		passwd("root has a second name, by 32 bits of a longer id", "toor:x:4294967296:1::/root:/bin/bash"),
		passwd("root has a second name, in a line that is cut off", "toor:x:0:1"),
		passwd("somebody who logs in is in root's group", "alice:x:4711:00::/home/alice:/bin/bash"),
		passwd("an account has no password", "guest::4711:4711::/:/bin/sh"),
		{id: "RD-125", from: evidence.CacheHost, how: "somebody is in root's group by a second name of it", over: []instead{{path: at("/etc/group"), from: "$", to: "helpers:x:0:alice\n"}}},
		{id: "RD-125", from: evidence.CacheHost, how: "an account's password is empty in /etc/shadow", over: []instead{
			{path: at("/etc/passwd"), from: "$", to: "guest:x:4711:4711::/:/bin/sh\n"}, {path: at("/etc/shadow"), from: "$", to: "guest::19000::::::\n", mode: 0o640},
		}},
		{id: "RD-125", from: evidence.CacheHost, how: "everybody can read the digests of passwords", over: []instead{{path: at("/etc/shadow"), from: "$", to: "guest:*:19000::::::\n"}}},
		{id: "RD-214", from: evidence.CacheHost, how: "everybody can read a key of stunnel's", over: []instead{
			{path: at("/etc/stunnel"), files: map[string]string{"redis.pem": "-----BEGIN PRIVATE KEY-----\n"}},
		}},
		{id: "RD-214", from: evidence.AppHost, how: "everybody can read a redis.conf with a password", over: []instead{
			{path: at("/etc/stunnel"), files: map[string]string{"redis.conf": "requirepass foobared\n"}},
		}},
		strewn("a sentinel.conf with its cache's password", "sentinel.conf", "sentinel auth-pass mymaster foobared\n"),
		strewn("a key that is indented, as in YAML", "values.yaml", "tls:\n  key: |\n    "+strings.ReplaceAll(keyPEM(), "\n", "\n    ")),
		strewn("a key in DER", "redis.der", string(keyDER())),
		strewn("a stunnel's PSK keys", "psk.txt", "web-1:"+strings.Repeat("0f", 32)+"\n"),
		strewn("an app.env with the cache's URL", "app.env", "REDIS_URL=redis://:foobared@127.0.0.1:6379/0\n"),
		{id: "RD-208", from: evidence.CacheHost, how: "everybody can read a certificate's file with the key in it, where the key's is another one", broken: func(t *testing.T, d *deployment) {
			certificates := &d.target.Cache.Certificates
			both := filepath.Join(t.TempDir(), "tls.crt")
			if err := os.WriteFile(both, read(t, filepath.Dir(certificates.Certificate), filepath.Base(certificates.Certificate)), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(both, 0o644); err != nil { // whatever the umask
				t.Fatal(err)
			}
			certificates.Key, certificates.Certificate = certificates.Certificate, both
			d.target.Cache.Trusted = append(d.target.Cache.Trusted, both)
		}},
		file("RD-441", "there is swap that isn't encrypted", "/proc/swaps", "Filename Type Size Used Priority\n/dev/none partition 1048572 0 -2\n"),
		file("RD-442", "core dumps are handed to systemd-coredump", "/proc/sys/kernel/core_pattern", "|/usr/lib/systemd/systemd-coredump %P %u %g %s %t\n"),
		file("RD-442", "core dumps are handed to a program whose name begins as false's does", "/proc/sys/kernel/core_pattern", "|/bin/false-keeper %p\n"),
		file("RD-442", "core dumps are written to files whose name is a space", "/proc/sys/kernel/core_pattern", " \n"),
		{id: "RD-443", from: evidence.CacheHost, how: "the host can hibernate by way of hybrid-sleep.target", over: []instead{
			{path: at("/sys/power"), files: map[string]string{"state": "freeze mem disk\n", "disk": "[platform] shutdown reboot\n"}},
			{path: at("/etc/systemd/system"), links: map[string]string{"hibernate.target": os.DevNull, "suspend-then-hibernate.target": os.DevNull}},
		}},
		{id: "RD-443", from: evidence.CacheHost, how: "the host can hibernate", over: []instead{
			{path: at("/sys/power"), files: map[string]string{"state": "freeze mem disk\n", "disk": "[platform] shutdown reboot\n"}},
		}},
		{id: "RD-444", from: evidence.CacheHost, how: "a crash kernel is loaded", over: []instead{
			{path: at("/sys/kernel"), files: map[string]string{"kexec_crash_loaded": "1\n"}},
		}},
		file("RD-445", "ptrace_scope is 0", "/proc/sys/kernel/yama/ptrace_scope", "0\n"),
		file("RD-446", "huge pages are used everywhere", "/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
	}
}

// TestTheClocksStateIsSeen sets what the kernel says of its clock, not the clock, and
// puts it back.
func TestTheClocksStateIsSeen(t *testing.T) {
	var was unix.Timex
	if _, err := unix.Adjtimex(&was); err != nil {
		t.Fatal(err)
	}
	const setStatus, setMostOff = 0x10, 0x04 // ADJ_STATUS, ADJ_MAXERROR (adjtimex(2))
	state := func(status int32, off int64) {
		t.Helper()
		if _, err := unix.Adjtimex(&unix.Timex{Modes: setStatus | setMostOff, Status: status, Maxerror: off}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { state(was.Status&^0xff00, was.Maxerror) }) // the upper bits are the kernel's own
	for _, c := range []struct {
		status int32
		off    int64 // microseconds
		want   evidence.Outcome
	}{{0, 1000, evidence.Pass}, {unix.STA_UNSYNC, 1000, evidence.Fail}, {0, 1000, evidence.Pass}} {
		state(c.status, c.off)
		target := &verify.Target{Vantage: evidence.Outsider, Deployment: "local"}
		for _, r := range verify.Run(t.Context(), target, verify.Checks(), verify.Options{}).Checks {
			if r.ID == "RD-620" && r.Outcome != c.want {
				t.Errorf("status %#x: %s, %s\n%s", c.status, r.Outcome, r.Detail, strings.TrimSpace(r.Evidence))
			}
		}
	}
}
