package migration

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestWhatIsUsedAndRefusedIsNamed asks a real engine that was really used.
func TestWhatIsUsedAndRefusedIsNamed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	lab.Plain(t, "redis-server", "port 0", "unixsocket "+socket, `save ""`)
	cli := exec.Command("redis-cli", "-s", socket)
	cli.Stdin = strings.NewReader("SET a 1\nGET a\nEVAL 'return 1' 0\nSCRIPT LOAD 'return 1'\nSORT a\nCONFIG GET port\nCONFIG SET maxmemory 1gb\nKEYS *\nPUBLISH a b\nFUNCTION LOAD '#!lua name=a\nredis.register_function(\"f\", function() end)'\nFLUSHALL\nDBSIZE\nCLIENT LIST\n")
	if out, err := cli.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	stats, err := exec.Command("redis-cli", "-s", socket, "INFO", "commandstats").Output()
	if err != nil {
		t.Fatal(err)
	}
	stats = append(stats, "cmdstat_ft.search:calls=3,usec=1\r\ncmdstat_lcs:calls=0,usec=0\r\n"...)
	path := write(t, t.TempDir(), "stats.txt", string(stats))
	_, j := serverOf(t, Options{CommandStats: path}, `rename-command KEYS ""`)
	for name, want := range map[string]Verdict{
		"eval": Refused, "script|load": Refused, "sort": Refused, "flushall": Refused, "keys": Refused, "ft.search": Refused,
		"config|set": Changed, "config|get": "", "get": "", "publish": "", "client|list": "", "dbsize": "", "lcs": "", "commandstats": Kept,
	} {
		if got := j.verdict(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	_, j = serverOf(t, Options{CommandStats: path, Allow: []string{"scripting"}})
	for _, name := range []string{"eval", "script|load", "keys"} {
		if got := j.verdict(name); got != "" {
			t.Errorf("with scripting allowed, %s: %s", name, got)
		}
	}
	if bytes.Contains(stats, []byte("cmdstat_function|load")) && j.verdict("function|load") != Refused {
		t.Errorf("function|load: %q", j.verdict("function|load"))
	}
	o := Options{Redis: write(t, t.TempDir(), "r", "port 1\n"), CommandStats: write(t, t.TempDir(), "none", "# Commandstats\r\n")}
	if _, err := new(journal).readServer(o); err == nil || !strings.Contains(err.Error(), "no line such as") {
		t.Error(err)
	}
}
