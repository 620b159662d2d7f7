package migration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes a file in a directory of the test's own.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestARedisConfIsReadAsRedisReadsIt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "more/10.conf", "MaxMemory 1gb\n")
	write(t, dir, "more/20.conf", "maxmemory 2gb\r\n")
	path := write(t, dir, "redis.conf", `# a comment
   	requirepass "a \"quoted\" \x41\n" # is no comment here: these are further arguments
rename-command CONFIG ""
bind   127.0.0.1	-::1
  # another
save 'it''s' x`+"\n"+`logfile 'a \'b'
include more/*.conf
include more/none-*.conf
notify-keyspace-events ""`)
	_, err := readRedis(path)
	if err == nil || !strings.Contains(err.Error(), "redis.conf:6: the quotes") || strings.Contains(err.Error(), "it''s") {
		t.Fatalf("%v", err) // a closing quote is followed by a space or the end
	}
	text, _ := os.ReadFile(path)
	write(t, dir, "redis.conf", strings.Replace(string(text), "save 'it''s' x", "save 900 1", 1))
	conf, err := readRedis(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range conf.settings {
		got = append(got, fmt.Sprintf("%s:%d %s %q", filepath.Base(s.file), s.line, s.name, s.args))
	}
	want := []string{
		`redis.conf:2 requirepass ["a \"quoted\" A\n" "#" "is" "no" "comment" "here:" "these" "are" "further" "arguments"]`,
		`redis.conf:3 rename-command ["CONFIG" ""]`,
		`redis.conf:4 bind ["127.0.0.1" "-::1"]`,
		`redis.conf:6 save ["900" "1"]`,
		`redis.conf:7 logfile ["a 'b"]`,
		`10.conf:1 maxmemory ["1gb"]`,
		`20.conf:1 maxmemory ["2gb"]`,
		`redis.conf:10 notify-keyspace-events [""]`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(conf.empty) != 1 || conf.empty[0].line != 9 {
		t.Errorf("the include that fits nothing: %v", conf.empty)
	}
}

func TestReadingIsBounded(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"itself.conf":  "include itself.conf\n",
		"each.conf":    "include other.conf\n",
		"other.conf":   "include each.conf\n",
		"gone.conf":    "include not-there.conf\n",
		"nul.conf":     "port 1\n\x00\nrequirepass hidden\n",
		"dir.conf":     "include /\n",
		"device.conf":  "include /dev/zero\n",
		"no-file.conf": "include a b\n",
		"many.conf":    strings.Repeat("include empty.conf\n", 300),
		"empty.conf":   "",
		"var.conf":     "requirepass ${REDIS_PASSWORD}\n",
		"jinja.conf":   "requirepass '{{ password }}'\n",
		"long.conf":    strings.Repeat("port 1\n", 6000),
		"large.conf":   "#" + strings.Repeat("x", maxText) + "\n",
	} {
		write(t, dir, name, text)
	}
	deep := ""
	for i := range 20 {
		deep = fmt.Sprintf("include d%d.conf\n", i+1)
		write(t, dir, fmt.Sprintf("d%d.conf", i), deep)
	}
	for name, want := range map[string]string{
		"var.conf": ":1: requirepass has a placeholder", "jinja.conf": ":1: requirepass has a placeholder",
		"itself.conf": "itself.conf:1: include: ", "each.conf": "includes itself", "gone.conf": "copy it here", "nul.conf": "NUL",
		"dir.conf": "regular file", "device.conf": "regular file", "no-file.conf": "one file", "many.conf": "more than 256 files",
		"large.conf": "larger than", "long.conf": "more than 5000 settings", "d0.conf": "16 deep",
	} {
		if _, err := readRedis(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// FuzzRedisConf: whatever the file is, each line of it has a finding or there is
// an error, and a password is in neither.
func FuzzRedisConf(f *testing.F) {
	for _, seed := range []string{
		"port 6379\nbind 127.0.0.1\nmaxmemory 1gb\n", "save \"\"\nappendonly yes # x\n", "user default on >pw ~* &* +@all -@dangerous\nuser alice on >x ~a:* +get\n",
		"user default\nuser default \"\"\nuser default (~a +get)\n", "rename-command KEYS \"\"\nrename-command GET x\nrename-command config|get \"\"\n", "maxmemory -1\n", "maxmemory 99999999999999999999gb\n",
		"requirepass \"\"\nrequirepass a\nrequirepass b\n", "include x\n", "maxmemory-policy volatile-lru\ndatabases 17\n", "a \"\\x4", "tls-port 6380\ntls-auth-clients no\ntls-ciphers RC4\n",
		"replicaof 10.0.0.1 6379\ncluster-enabled yes\nsearch-x y\n", "aclfile \"\"\n", "client-output-buffer-limit normal 0 0 0\n",
		"user default off\nuser app on >x ~* &* +@all\n", "user default on nopass ~* +@read +select|0 -nosuch +@nosuch \"\" reset on +ft.search\n", "rename-command CONFIG \"\"\nrename-command acl|list x\nrename-command @read \"\"\n", "requirepass ${X}\n",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		for line := range strings.SplitSeq(text, "\n") {
			// Paths of this machine. Names are read, since quotes can spell them otherwise.
			if s, _ := parseRedisLine(place{}, line); s.name == "include" || strings.HasSuffix(s.name, "file") && s.value() != "" {
				return
			}
		}
		const secret = "Xq7secretZ"
		path := write(t, dir, "redis.conf", text+"\nrequirepass "+secret+"\nmasterauth "+secret+"\n")
		j := &journal{}
		srv, err := j.readServer(Options{Redis: path, Now: time.Unix(1e9, 0)})
		told, _ := json.Marshal(j.findings)
		if strings.Contains(string(told), secret) || err != nil && strings.Contains(err.Error(), secret) {
			t.Fatalf("the password is told: %s %v", told, err)
		}
		if err != nil {
			return
		}
		if err := srv.policy.Validate(); err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(text, "\n") {
			if s, err := parseRedisLine(place{}, line); err != nil || s.name == "" {
				continue
			}
			found := false
			for _, f := range j.findings {
				found = found || f.Line == i+1
				if f.Verdict == "" || f.Why == "" {
					t.Fatalf("%+v", f)
				}
			}
			if !found {
				t.Fatalf("line %d was passed over: %q", i+1, line)
			}
		}
	})
}
