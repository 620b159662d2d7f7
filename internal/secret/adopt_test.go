package secret

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

func adopted(t *testing.T) Files {
	dir := t.TempDir()
	return Files{AppEnv: filepath.Join(dir, "new", "app.env"), Digests: filepath.Join(dir, "new", "cache", "password.sha256"), Address: "127.0.0.1:6379", Private: true}
}

// TestAnyPasswordCanBeAdopted: it comes back out of the file, and a shell that
// reads the file runs nothing.
func TestAnyPasswordCanBeAdopted(t *testing.T) {
	every := make([]byte, 0, 256)
	for b := 1; b < 256; b++ {
		every = append(every, byte(b))
	}
	for _, pw := range []string{"plain", "with space", `$(touch ruin);&"'` + "`touch ruin`", "a:b@c/d?e#f%41", string(every)} {
		f := adopted(t)
		digests := []passwords.Digest{passwords.Of([]byte(pw))}
		if made, err := f.Adopt(pw, digests); err != nil || !made {
			t.Fatal(made, err)
		}
		if got, err := f.given(); err != nil || got != pw {
			t.Errorf("%q comes back as %q, %v", pw, got, err)
		}
		sh := exec.Command("sh", "-c", `. ./app.env && printf %s "$REDIS_URL"`)
		sh.Dir = filepath.Dir(f.AppEnv)
		out, err := sh.CombinedOutput()
		text, _ := os.ReadFile(f.AppEnv)
		if err != nil || "REDIS_URL="+string(out)+"\n" != string(text) {
			t.Errorf("a shell reads %q: %v", out, err)
		}
		if _, err := os.Stat(filepath.Join(sh.Dir, "ruin")); err == nil {
			t.Fatal("the shell ran the password")
		}
		if made, err := f.Adopt(pw, digests); err != nil || made {
			t.Errorf("again: %v %v", made, err)
		}
		for _, path := range []string{f.AppEnv, f.Digests} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v", path, info.Mode())
			}
		}
	}
}

func TestAdoptingNeverReplaces(t *testing.T) {
	f := adopted(t)
	if _, err := f.Adopt("", nil); err != nil { // one is made
		t.Fatal(err)
	}
	first, err := f.given()
	if err != nil || len(first) < 40 {
		t.Fatal(first, err)
	}
	if made, err := f.Adopt("", nil); err != nil || made {
		t.Errorf("again: %v %v", made, err)
	}
	// Cut behind the first file, it goes on with the password that was made.
	if err := os.Remove(f.Digests); err != nil {
		t.Fatal(err)
	}
	if made, err := f.Adopt("", nil); err != nil || !made {
		t.Errorf("after a cut: %v %v", made, err)
	}
	if again, _ := f.given(); again != first {
		t.Error("another password was made")
	}
	for _, other := range []string{"another"} {
		if _, err := f.Adopt(other, []passwords.Digest{passwords.Of([]byte(other))}); err == nil || !strings.Contains(err.Error(), "another password") || strings.Contains(err.Error(), first) {
			t.Errorf("%v", err)
		}
	}
	// Of a digest alone no app.env can be made.
	d := Files{Digests: filepath.Join(t.TempDir(), "password.sha256"), Private: true}
	if made, err := d.Adopt("", []passwords.Digest{passwords.Of([]byte("x"))}); err != nil || !made {
		t.Error(made, err)
	}
	if _, err := d.Adopt("", []passwords.Digest{passwords.Of([]byte("y"))}); err == nil || !strings.Contains(err.Error(), "other passwords") {
		t.Error(err)
	}
}
