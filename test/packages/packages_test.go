//go:build slow

// Package packages_test builds the packages as "make package" does and looks at them as
// their users' tools do: lintian, rpm, gpg, man, and the shells that complete by what
// they bring. test/hosts installs, upgrades and removes the .deb on whole hosts.
package packages_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

const version = "1.2.3"

func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "redoubt_*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = fmt.Sprintf("%x", sha256.Sum256(text))
	}
	return all
}

// copyOf is the tree at another path, as somebody else has it.
func copyOf(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "elsewhere")
	lab.Sure(t, exec.Command("sh", "-c", `mkdir "$1" && cd ../.. && { git ls-files -z --cached --others --exclude-standard; printf '.git\0'; } | xargs -0 cp --archive --parents --target-directory="$1" --`, "sh", dir))
	return dir
}

func TestPackages(t *testing.T) {
	key := signingKey(t)
	dir := lab.Packages(t, "../..", version, "SIGNING_KEY="+key.private)
	got := sums(t, dir)
	for _, name := range []string{"redoubt_1.2.3.cdx.json", "redoubt_1.2.3_amd64.deb", "redoubt_1.2.3_amd64.rpm", "redoubt_1.2.3_arm64.deb", "redoubt_1.2.3_arm64.rpm"} {
		if got[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	t.Run("the same commit gives the same bytes", func(t *testing.T) {
		// Without signatures, which have a time of their own.
		first, second := lab.Packages(t, "../..", version), lab.Packages(t, copyOf(t), version)
		if a, b := sums(t, first), sums(t, second); fmt.Sprint(a) != fmt.Sprint(b) || len(a) != 5 {
			t.Errorf("%v\n%v", a, b)
		}
	})
	t.Run("lintian", func(t *testing.T) {
		out, err := exec.Command("lintian", "--allow-root", "--info", "--fail-on", "error,warning", "--suppress-tags", "unpack-message-for-deb-data", dir+"/redoubt_1.2.3_amd64.deb", dir+"/redoubt_1.2.3_arm64.deb").CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("signatures", func(t *testing.T) {
		check := exec.Command("gpg", "--homedir", key.home, "--batch", "--verify", "SHA256SUMS.asc", "SHA256SUMS")
		check.Dir = dir
		lab.Sure(t, check)
		check = exec.Command("sha256sum", "--check", "SHA256SUMS")
		check.Dir = dir
		lab.Sure(t, check)
		base := t.TempDir()
		lab.Sure(t, exec.Command("rpm", "--dbpath", base, "--import", key.public))
		for _, arch := range []string{"amd64", "arm64"} {
			out := lab.Sure(t, exec.Command("rpm", "--dbpath", base, "--checksig", "--verbose", dir+"/redoubt_1.2.3_"+arch+".rpm"))
			if !strings.Contains(out, "Signature, key ID") || strings.Contains(out, "NOT OK") || strings.Contains(out, "NOKEY") {
				t.Error(out)
			}
		}
	})
	t.Run("what is in it", func(t *testing.T) {
		text, err := os.ReadFile(dir + "/redoubt_1.2.3.cdx.json")
		if err != nil {
			t.Fatal(err)
		}
		var bom struct {
			BOMFormat  string
			Components []struct{ Name, Version, PURL string }
		}
		if err := json.Unmarshal(text, &bom); err != nil || bom.BOMFormat != "CycloneDX" {
			t.Fatalf("%v\n%s", err, text)
		}
		linked := lab.Sure(t, exec.Command("go", "version", "-m", lab.Redoubt(t)))
		has := map[string]bool{}
		for _, c := range bom.Components {
			has[c.Name] = true
		}
		for line := range strings.Lines(linked) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" && !has[fields[1]] {
				t.Errorf("%s is linked, and not listed", fields[1])
			}
		}
		if !has["std"] {
			t.Error("Go's standard library is not listed")
		}
	})
	t.Run("rpm", func(t *testing.T) { byRPM(t, dir+"/redoubt_1.2.3_amd64.rpm") })
	root := t.TempDir()
	lab.Sure(t, exec.Command("dpkg-deb", "--extract", dir+"/redoubt_1.2.3_amd64.deb", root))
	t.Run("manual pages", func(t *testing.T) { readManual(t, root+"/usr/share/man/man1") })
	t.Run("completion", func(t *testing.T) { complete(t, root+"/usr/share") })
}

type pgp struct{ home, private, public string }

func signingKey(t *testing.T) pgp {
	t.Helper()
	// The agent's socket has a bound on its path's length.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	key := pgp{home, filepath.Join(home, "private.asc"), filepath.Join(home, "public.asc")}
	gpg := func(args ...string) {
		t.Helper()
		lab.Sure(t, exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...))
	}
	gpg("--quick-generate-key", "Releases <releases@redoubt-cache.example>", "rsa3072", "sign", "1d")
	gpg("--armor", "--output", key.private, "--export-secret-keys")
	gpg("--armor", "--output", key.public, "--export")
	return key
}

// byRPM installs, upgrades and removes the .rpm with the real rpm, in a root that has
// what its scripts need. No systemd runs there.
func byRPM(t *testing.T, older string) {
	root := lab.DebianRoot(t)
	newer := filepath.Join(lab.Packages(t, "../..", "1.3.0", "ARCHES=amd64", "FORMATS=rpm"), "redoubt_1.3.0_amd64.rpm")
	rpm := func(args ...string) (string, error) {
		out, err := exec.Command("rpm", append([]string{"--root", root}, args...)...).CombinedOutput()
		return string(out), err
	}
	sure := func(args ...string) {
		t.Helper()
		if out, err := rpm(args...); err != nil {
			t.Fatalf("rpm %v: %v\n%s", args, err, out)
		}
	}
	sure("--install", "--nodeps", older) // the root has no base system by rpm
	if out := lab.Sure(t, exec.Command("chroot", root, "redoubt", "version")); !strings.Contains(out, "redoubt") {
		t.Error(out)
	}
	users, err := os.ReadFile(root + "/etc/passwd")
	if err != nil || !strings.Contains(string(users), "redoubt-sidecar:") || !strings.Contains(string(users), "redoubt-engine:") || !strings.Contains(string(users), "redoubt-front:") {
		t.Errorf("%v\n%s", err, users)
	}
	mine := root + "/etc/redoubt/gateway.yaml"
	if err := os.WriteFile(mine, []byte("deployment: clinic\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sure("--upgrade", "--nodeps", newer)
	if out, err := rpm("--query", "redoubt"); err != nil || !strings.HasPrefix(out, "redoubt-1.3.0") {
		t.Errorf("%v %s", err, out)
	}
	sure("--verify", "--nodeps", "redoubt")
	record := root + "/var/lib/redoubt-host/record.json"
	if err := os.MkdirAll(filepath.Dir(record), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := rpm("--erase", "redoubt"); err == nil || !strings.Contains(out, "redoubt host undo") {
		t.Errorf("a host that is locked down loses its program: %v %s", err, out)
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	sure("--erase", "redoubt")
	if _, err := os.Stat(root + "/usr/bin/redoubt"); err == nil {
		t.Error("the program is still there")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("the configuration is gone: %v", err)
	}
}

// readManual formats each page with warnings on, and finds a page for each subcommand.
func readManual(t *testing.T, dir string) {
	pages, err := filepath.Glob(dir + "/*.1.gz")
	if err != nil || len(pages) < 40 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		out := lab.Sure(t, exec.Command("sh", "-c", `zcat "$1" | groff -man -Tutf8 -ww -Wbreak -rLL=78n 2>&1`, "sh", page))
		if strings.Contains(out, "warning:") || strings.Contains(out, "error:") || !strings.Contains(out, " done.") {
			t.Errorf("%s\n%s", page, out)
		}
	}
	for _, name := range []string{"redoubt", "redoubt-gateway", "redoubt-host-apply", "redoubt-pki-rotate-start"} {
		if _, err := os.Stat(filepath.Join(dir, name+".1.gz")); err != nil {
			t.Error(err)
		}
	}
}

// complete asks each shell, with what the package brings, what may come next.
func complete(t *testing.T, share string) {
	shells := map[string]func(words []string) *exec.Cmd{
		"bash": func(words []string) *exec.Cmd {
			return exec.Command("bash", append([]string{"-c", `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); __redoubt_complete; printf '%s\n' "${COMPREPLY[@]}"`, "bash", share + "/bash-completion/completions/redoubt"}, words...)...)
		},
		"zsh": func(words []string) *exec.Cmd {
			// As zsh's own _bash_complete has it, with compgen from bashcompinit.
			script := `autoload -U +X compinit bashcompinit; compinit -D; bashcompinit; source <(grep -v '^_bash_complete' "$1"); shift; setopt kshglob ksharrays shwordsplit; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); __redoubt_complete; printf '%s\n' "${COMPREPLY[@]}"`
			return exec.Command("zsh", append([]string{"-f", "-c", script, "zsh", share + "/zsh/vendor-completions/_redoubt"}, words...)...)
		},
		"fish": func(words []string) *exec.Cmd {
			return exec.Command("fish", "--no-config", "-c", `source $argv[1]; complete -C "$argv[2]" | string split -f 1 \t`, share+"/fish/vendor_completions.d/redoubt.fish", strings.Join(words, " "))
		},
	}
	for shell, ask := range shells {
		for _, c := range []struct {
			words       []string
			has, hasNot []string
		}{
			{[]string{"redoubt", ""}, []string{"up", "gateway", "host", "completion"}, []string{"plan", "manual"}},
			{[]string{"redoubt", "host", ""}, []string{"plan", "apply", "undo"}, []string{"guard", "boot", "gateway"}},
			{[]string{"redoubt", "pki", "rotate", "sw"}, []string{"switch"}, []string{"start"}},
			{[]string{"redoubt", "host", "apply", "--no"}, []string{"--no-rollback"}, []string{"--within"}},
			{[]string{"redoubt", "render", "systemd", ""}, []string{"gateway", "sidecar"}, []string{"nftables"}},
			{[]string{"redoubt", "up", "--log-format", ""}, []string{"text", "json"}, []string{"gateway"}},
		} {
			out, err := ask(c.words).Output()
			lines := "\n" + string(out)
			if err != nil {
				t.Errorf("%s %q: %v", shell, c.words, err)
			}
			for _, want := range c.has {
				if !strings.Contains(lines, "\n"+want+"\n") {
					t.Errorf("%s %q doesn't offer %s:%s", shell, c.words, want, lines)
				}
			}
			for _, not := range c.hasNot {
				// zsh picks from what is offered by itself.
				if begun := c.words[len(c.words)-1] != ""; shell == "zsh" && begun {
					continue
				}
				if strings.Contains(lines, "\n"+not+"\n") {
					t.Errorf("%s %q offers %s", shell, c.words, not)
				}
			}
		}
	}
}
