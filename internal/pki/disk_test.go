package pki_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

// work is what the child processes of the tests below do in the CA's directory.
const work = "PKI_TEST_DIR"

// child runs one test of this binary again, as a process that works in dir.
func child(t *testing.T, name, dir string, more ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$")
	cmd.Env = append(append(os.Environ(), work+"="+dir), more...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return cmd, bufio.NewReader(out)
}

// issueAs issues a certificate and says so once it has it.
func issueAs(t *testing.T, ca *pki.CA, uri string) {
	t.Helper()
	leaf, err := ca.Issue(pki.Request{ID: id(t, uri)})
	must(t, err)
	fmt.Fprintf(os.Stdout, "issued %s\n", pki.Describe(leaf.Certificate(), leaf.Certificate().NotBefore).Serial)
}

// TestAProcessThatIsKilledLosesNothing kills one that issues, revokes and
// rotates, at another moment each time, and holds what it had said against what
// it left.
func TestAProcessThatIsKilledLosesNothing(t *testing.T) {
	if dir := os.Getenv(work); dir != "" {
		ca, err := pki.Open(dir, nil)
		must(t, err)
		for { // until it is killed
			issueAs(t, ca, "spiffe://clinic/app/web")
			issueAs(t, ca, "spiffe://clinic/app/db")
			if _, err := ca.Revoke(id(t, "spiffe://clinic/app/web")); err != nil {
				t.Fatal(err)
			}
			switch r, err := ca.Rotation(); {
			case err != nil:
				t.Fatal(err)
			case r.Stage == pki.Resting:
				must(t, ca.StartRotation(pki.Options{}))
			case r.Stage == pki.Started:
				must(t, ca.SwitchRoot(true))
			case r.Stage == pki.Switched:
				must(t, ca.FinishRotation(true))
			}
			fmt.Fprintln(os.Stdout, "revoked")
		}
	}
	dir := t.TempDir()
	_, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	var said []string
	for round := range 20 {
		cmd, out := child(t, t.Name(), dir)
		for range 1 + round {
			line, err := out.ReadString('\n')
			must(t, err)
			if serial, ok := strings.CutPrefix(line, "issued "); ok {
				said = append(said, strings.TrimSpace(serial))
			}
		}
		must(t, cmd.Process.Kill())
		cmd.Wait()
		ca, err := pki.Open(dir, nil)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		known := serials(t, ca)
		for _, serial := range said {
			if known[serial] == "" {
				t.Fatalf("round %d: %s was issued and is forgotten", round, serial)
			}
		}
		if _, err := ca.Revocations(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if len(said) < 50 {
		t.Errorf("only %d were issued", len(said))
	}
}

func serials(t *testing.T, ca *pki.CA) map[string]pki.Status {
	t.Helper()
	issued, err := ca.Issued()
	must(t, err)
	known := make(map[string]pki.Status)
	for _, i := range issued {
		known[i.Serial] = i.Status
	}
	return known
}

// TestProcessesOnOneDirectoryLoseNothing lets several issue and revoke at once:
// each in a process of its own, with two goroutines on two CAs.
func TestProcessesOnOneDirectoryLoseNothing(t *testing.T) {
	const each = 15
	if dir := os.Getenv(work); dir != "" {
		var all sync.WaitGroup
		for _, who := range []string{"a", "b"} {
			ca, err := pki.Open(dir, nil)
			must(t, err)
			all.Go(func() {
				for range each {
					issueAs(t, ca, "spiffe://clinic/app/"+os.Getenv("PKI_TEST_NAME")+who)
					if _, err := ca.Revocations(); err != nil {
						t.Error(err)
					}
				}
				if _, err := ca.Revoke(id(t, "spiffe://clinic/app/"+os.Getenv("PKI_TEST_NAME")+"a")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return
	}
	dir := t.TempDir()
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	const processes = 3
	var running []*exec.Cmd
	var outputs []*bufio.Reader
	for i := range processes {
		cmd, out := child(t, t.Name(), dir, fmt.Sprintf("PKI_TEST_NAME=p%d", i))
		running, outputs = append(running, cmd), append(outputs, out)
	}
	issued := 0
	for i, cmd := range running {
		for {
			line, err := outputs[i].ReadString('\n')
			if err != nil {
				break
			}
			if serial, ok := strings.CutPrefix(line, "issued "); ok {
				issued++
				if serials(t, ca)[strings.TrimSpace(serial)] == "" { // a CA that was opened before reads again
					t.Errorf("%s was issued and isn't known", serial)
				}
			}
		}
		must(t, cmd.Wait())
	}
	counts := make(map[pki.Status]int)
	for _, status := range serials(t, ca) {
		counts[status]++
	}
	if issued != processes*2*each || counts[pki.Living]+counts[pki.Revoked] != issued || counts[pki.Revoked] < processes*each {
		t.Errorf("%d were issued, the ledger has %v", issued, counts)
	}
	text, err := ca.Revocations()
	must(t, err)
	if n := listed(t, dir, text); n != counts[pki.Revoked] {
		t.Errorf("%d are revoked, %d are listed", counts[pki.Revoked], n)
	}
}

// listed asks openssl how many certificates a CRL lists.
func listed(t *testing.T, dir string, crl []byte) int {
	t.Helper()
	cmd := exec.Command("openssl", "crl", "-CAfile", filepath.Join(dir, "ca.crt"), "-noout", "-text")
	cmd.Stdin = bytes.NewReader(crl)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("verify OK")) {
		t.Fatalf("%v\n%s", err, out)
	}
	return bytes.Count(out, []byte("Serial Number:"))
}

// TestAFullDiskIssuesNothingAndLosesNothing fills a small file system.
func TestAFullDiskIssuesNothingAndLosesNothing(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small tmpfs (root is needed): %v", err)
	}
	defer syscall.Unmount(mount, 0)
	dir, ballast := filepath.Join(mount, "ca"), filepath.Join(mount, "ballast")
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	web := id(t, "spiffe://clinic/app/web")
	_, err = ca.Issue(pki.Request{ID: web})
	must(t, err)
	os.WriteFile(ballast, make([]byte, 64<<10), 0o600) // as much as there is room for
	if _, err := ca.Issue(pki.Request{ID: web}); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), filepath.Join(dir, "issued")) {
		t.Errorf("issue: %v, want ENOSPC with the file", err)
	}
	if _, err := ca.Revoke(web); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("revoke: %v, want ENOSPC", err)
	}
	if err := ca.StartRotation(pki.Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("rotate: %v, want ENOSPC", err)
	}
	for _, look := range []func() (*pki.CA, error){func() (*pki.CA, error) { return ca, nil }, func() (*pki.CA, error) { return pki.Open(dir, nil) }} {
		ca, err := look()
		must(t, err)
		if known := serials(t, ca); len(known) != 1 || len(ca.Roots()) != 1 {
			t.Errorf("the ledger has %v, there are %d roots", known, len(ca.Roots()))
		}
	}
	must(t, os.Remove(ballast))
	if revoked, err := ca.Revoke(web); len(revoked) != 1 || err != nil {
		t.Errorf("with room again: %v revoked, %v", revoked, err)
	}
	must(t, ca.StartRotation(pki.Options{}))
}

// TestAReadOnlyDirectoryShowsAndSignsNothing mounts one read-only.
func TestAReadOnlyDirectoryShowsAndSignsNothing(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Fatalf("mount a small tmpfs (root is needed): %v", err)
	}
	defer syscall.Unmount(dir, 0)
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	web := id(t, "spiffe://clinic/app/web")
	_, err = ca.Issue(pki.Request{ID: web})
	must(t, err)
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	ca, err = pki.Open(dir, nil)
	must(t, err)
	if len(serials(t, ca)) != 1 || len(ca.Roots()) != 1 {
		t.Error("what is there can't be seen")
	}
	if _, err := ca.Revocations(); err != nil {
		t.Errorf("the list can't be read: %v", err)
	}
	if leaf, err := ca.Issue(pki.Request{ID: web}); !errors.Is(err, syscall.EROFS) || leaf != nil {
		t.Errorf("issue: %v, want EROFS", err)
	}
	if revoked, err := ca.Revoke(web); !errors.Is(err, syscall.EROFS) || revoked != nil {
		t.Errorf("revoke: %v, %v, want EROFS", revoked, err)
	}
}
