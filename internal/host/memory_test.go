package host

import (
	"os"
	"path/filepath"
	"testing"
)

// TestEncryptionIsSeenThroughVolumes, in trees as the kernel's /sys/class/block has them.
func TestEncryptionIsSeenThroughVolumes(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"a partition":                           {map[string]string{"size": "1"}, false},
		"LUKS":                                  {map[string]string{"dm/uuid": "CRYPT-LUKS2-00-luks"}, true},
		"plain dm-crypt":                        {map[string]string{"dm/uuid": "CRYPT-PLAIN-swap"}, true},
		"a volume on a partition":               {map[string]string{"dm/uuid": "LVM-x", "slaves/sda2/size": "1"}, false},
		"a volume on LUKS":                      {map[string]string{"dm/uuid": "LVM-x", "slaves/dm-0/dm/uuid": "CRYPT-LUKS2-x"}, true},
		"a RAID of which one half is encrypted": {map[string]string{"slaves/dm-0/dm/uuid": "CRYPT-LUKS2-x", "slaves/sdb/size": "1"}, false},
	} {
		dir := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := encryptedBlock(dir, 0); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestKeepsDumps(t *testing.T) {
	for _, c := range []struct {
		pattern, usesPID string
		keeps            bool
	}{
		{"|/bin/false", "0", false}, {"|/bin/false %p", "1", false}, {"|/usr/bin/false", "0", false}, {"| /bin/false", "0", false}, {"", "0", false},
		{"|/bin/false-keeper %p", "0", true}, {"|/bin/falsehood", "0", true}, {"|/usr/bin/false/../keeper", "0", true}, {"|", "0", true}, {"core", "0", true}, {"", "1", true}, {"@/run/dumps", "0", true}, {"/bin/false", "0", true}, {" ", "0", true}, {" |/bin/false", "0", true},
	} {
		if got := KeepsDumps(c.pattern, c.usesPID); (got != "") != c.keeps {
			t.Errorf("%q, %s: %q", c.pattern, c.usesPID, got)
		}
	}
}

// TestStrewnFindsWhatEverybodyCanRead and nothing else.
func TestStrewnFindsWhatEverybodyCanRead(t *testing.T) {
	dir := t.TempDir()
	for path, f := range map[string]struct {
		mode os.FileMode
		text string
	}{
		"stunnel/redis.pem":    {0o644, "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n-----BEGIN RSA PRIVATE KEY-----\nx\n"},
		"stunnel/closed.pem":   {0o640, "-----BEGIN PRIVATE KEY-----\n"},
		"redis.conf":           {0o644, "# requirepass foobared\nbind 127.0.0.1\n"},
		"redis-6379.conf":      {0o644, "bind 127.0.0.1\nrequirepass  foobared\n"},
		"users.acl":            {0o644, "user app on ~* +@all >secret\n"},
		"users-hashed.acl":     {0o644, "user app on ~* +@all #abcdef\n"},
		"about-keys.txt":       {0o644, "A file begins with -----BEGIN PRIVATE KEY----- then.\n"},
		"closed/directory.pem": {0o644, "-----BEGIN PRIVATE KEY-----\n"},
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "closed"): 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	found, looked, left, err := Strewn(dir)
	want := []string{dir + "/redis-6379.conf", dir + "/stunnel/redis.pem", dir + "/users.acl"}
	if err != nil || len(left) > 0 || looked != 6 || len(found) != len(want) {
		t.Fatalf("%v of %d, %v %v", found, looked, left, err)
	}
	for i := range want {
		if found[i] != want[i] {
			t.Errorf("%v, want %v", found, want)
		}
	}
}
