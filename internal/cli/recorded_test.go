package cli

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/redoubt-cache/redoubt/internal/trail"
)

// TestEachCommandIsAnActOrOnlyLooks: who adds one decides which, and what of its
// arguments may be on record.
func TestEachCommandIsAnActOrOnlyLooks(t *testing.T) {
	looks := strings.Fields(`up gateway sidecar pki-show pki-list pki-rotate-status token-list secret-list render-nftables render-sysctl
		render-ssh render-systemd render-config render-terraform host-plan host-check host-boot host-keep host-guard import-stunnel import-redis-tls
		wait exec log status explain dossier-verify bench version completion manual`)
	flags := strings.Fields(`--address --by --ca --compare --config --control --csr --deployment --digests --dir --dns --dry-run --env --evidence --force --gateway
		--host --html --ip --json --junit --key-type --life --list --name --new-passphrase-file --no-passphrase --no-rollback --out --outside --overlap
		--owner --passphrase-file --policy --role --seal --serial --socket --token-file --ttl --within --without --certificate
		<host> <id> <report>`)
	model, err := (&env{stdout: io.Discard, stderr: io.Discard}).model()
	if err != nil {
		t.Fatal(err)
	}
	err = kong.Visit(model, func(n kong.Visitable, next kong.Next) error {
		node, ok := n.(*kong.Node)
		if !ok || !node.Leaf() || node.Type != kong.CommandNode {
			return next(nil)
		}
		name := strings.Join(words(node), "-")
		_, acts := node.Target.Addr().Interface().(act)
		if acts == slices.Contains(looks, name) {
			t.Errorf("%s: give it recordIn (recorded.go), or a place in the list of those that only look; not both", name)
		}
		if !acts {
			return next(nil)
		}
		for _, f := range flagsOf(node) {
			if !slices.Contains(flags, "--"+f.Name) {
				t.Errorf("%s --%s: is it a secret? The record has it as it was given", name, f.Name)
			}
		}
		for _, p := range node.Positional {
			if !slices.Contains(flags, "<"+p.Name+">") && !p.Tag.Has("secret") && p.Name != "name" {
				t.Errorf("%s %s: is it a secret? The record has it as it was given", name, p.Name)
			}
		}
		return next(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func records(t *testing.T, dir string) (list []trail.Record) {
	t.Helper()
	chain, err := trail.Beside(dir).Read(func(r *trail.Record, _ []byte) error {
		list = append(list, *r)
		return nil
	})
	if err != nil || len(chain.Faults) > 0 {
		t.Fatalf("%+v, %v", chain, err)
	}
	return list
}

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestWhatIsDoneIsOnRecordBeforeAndAfter(t *testing.T) {
	t.Setenv("SUDO_USER", "jane")
	dir := filepath.Join(t.TempDir(), "ca")
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitGood, []string{"pki", "init", "--deployment", "clinic", "--no-passphrase", "--dir", dir}},
		{exitGood, []string{"pki", "list", "--dir", dir}}, // only looks
		{exitGood, []string{"token", "create", "--dir", dir, "--name", "web-1", "--gateway", "cache-1=10.77.0.2:6379", "--gateway", "cache-2=10.77.0.4:6379"}},
		{exitNotGood, []string{"pki", "revoke", "--dir", dir, "web-9"}},
	} {
		if code, _, stderr := run(t, c.args...); code != c.code {
			t.Fatalf("%v: %d, %s", c.args, code, stderr)
		}
	}
	var got []string
	for _, r := range records(t, dir) {
		if r.Who.Sudo != "jane" || r.Who.UID != os.Getuid() || r.Who.Host == "" {
			t.Errorf("%+v", r.Who)
		}
		got = append(got, strings.ReplaceAll(strings.Join(append([]string{r.Command, string(r.Outcome)}, r.Args...), " "), dir, "DIR"))
	}
	want := []string{
		"pki init ok --deployment=clinic --no-passphrase --dir=DIR",
		"token create began --dir=DIR --name=web-1 --gateway=cache-1=10.77.0.2:6379,cache-2=10.77.0.4:6379",
		"token create ok --dir=DIR --name=web-1 --gateway=cache-1=10.77.0.2:6379,cache-2=10.77.0.4:6379",
		"pki revoke began --dir=DIR web-9",
		"pki revoke failed --dir=DIR web-9",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWhatCantBeRecordedIsNotDone.
func TestWhatCantBeRecordedIsNotDone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if code, _, stderr := run(t, "pki", "init", "--deployment", "clinic", "--no-passphrase", "--dir", dir); code != exitGood {
		t.Fatal(stderr)
	}
	head := filepath.Join(dir, trail.Name, "head")
	if err := os.WriteFile(head, []byte("1 x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "issued"))
	if err != nil {
		t.Fatal(err)
	}
	code, _, stderr := run(t, "pki", "issue", "--dir", dir, "--role", "app", "--name", "web-1", "--out", filepath.Join(dir, "out"))
	after, err := os.ReadFile(filepath.Join(dir, "issued"))
	if err != nil || code != exitEnvironment || !strings.Contains(stderr, "nothing was done") || !strings.Contains(stderr, head) || !bytes.Equal(before, after) {
		t.Errorf("%d, %s, %v", code, stderr, err)
	}
}

// TestATokenIsNoArgumentOnRecord, though it was one.
func TestATokenIsNoArgumentOnRecord(t *testing.T) {
	dir := t.TempDir()
	code, _, _ := run(t, "join", "--dir", dir, "rdjoin2_hunter2")
	got := records(t, dir)
	if code != exitUsage || len(got) != 2 || got[1].Exit != exitUsage {
		t.Fatalf("%d: %+v", code, got)
	}
	if text := strings.Join(got[1].Args, " "); strings.Contains(text, "hunter2") || !strings.Contains(text, "token") {
		t.Errorf("%q", text)
	}
}

// TestTheJournalIsTold as it is told by others: RFC 3164.
func TestTheJournalIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tellJournal(socket, trail.Record{Who: &trail.Who{Host: "cache-1", User: "root", Login: "jane"}, Command: "pki revoke", Args: []string{"--dir=ca", "web\n1"}, Outcome: trail.Failed, Exit: 1})
	l.SetDeadline(time.Now().Add(10 * time.Second))
	text := make([]byte, 2000)
	n, err := l.Read(text)
	got := string(text[:n])
	if err != nil || !strings.HasPrefix(got, "<85>redoubt[") || strings.Count(got, "\n") != 1 ||
		!strings.HasSuffix(got, `msg=administrator command="pki revoke" args="--dir=ca web\n1" outcome=failed exit=1 user=root uid=0 login=jane sudo="" host=cache-1`+"\n") {
		t.Errorf("%q, %v", got, err)
	}
	tellJournal(filepath.Join(t.TempDir(), "none"), trail.Record{Who: new(trail.Who)}) // nobody there
}

// TestWhoHasLoggedInIsKnownBehindSudo: the kernel keeps it from login on.
func TestWhoHasLoggedInIsKnownBehindSudo(t *testing.T) {
	if dir := os.Getenv("CLI_TEST_LOGIN"); dir != "" {
		run(t, "token", "revoke", "--dir", dir, "none")
		return
	}
	dir := filepath.Join(t.TempDir(), "ca")
	if code, _, stderr := run(t, "pki", "init", "--deployment", "clinic", "--no-passphrase", "--dir", dir); code != exitGood {
		t.Fatal(stderr)
	}
	cmd := exec.Command("sh", "-c", `echo 65534 > /proc/self/loginuid && exec "$0" -test.run="^$1\$"`, "/proc/self/exe", t.Name())
	cmd.Env = append(os.Environ(), "CLI_TEST_LOGIN="+dir)
	if self, err := os.Executable(); err != nil {
		t.Fatal(err)
	} else {
		cmd.Args[3] = self
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := records(t, dir)
	if last := got[len(got)-1]; last.Who.Login != "nobody" || last.Outcome != trail.Failed {
		t.Errorf("%+v", last.Who)
	}
}
