package engine

import (
	"log/slog"
	"strings"
	"testing"
)

// The lines are what 7.0.15 and its kin print; the marks stand where data can.
func TestKnownLinesBecomeOurSentences(t *testing.T) {
	const head = "4711:M 24 Nov 2026 22:54:01.123 "
	for line, want := range map[string]string{
		"4711:C 24 Nov 2026 22:54:01.123 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo":                                                      "the engine starts",
		"4711:C 24 Nov 2026 22:54:01.123 * oO0OoO0OoO0Oo Valkey is starting oO0OoO0OoO0Oo":                                                     "the engine starts",
		head + "* Ready to accept connections unix":                                                                                            "the engine listens",
		head + "* The server is now ready to accept connections at /run/" + mark + "/s":                                                        "the engine listens",
		head + "# Closing client that reached max query buffer length: id=3 addr=s:0 name=" + mark + " (qbuf initial bytes: \"" + mark + "\")": "the engine closed a client: its command was larger than the limit",
		head + "# Client id=8 addr=s:0 name=" + mark + " scheduled to be closed ASAP for overcoming of output buffer limits.":                  "the engine closed a client: it did not read its replies",
		head + "* Evicting client: id=8 name=" + mark:                                                                                          "the engine evicted a client",
		head + "# Slow script detected: still in execution after 2001 milliseconds. Script name is: " + mark + ".":                             "a script keeps the engine busy",
		head + "* Connecting to MASTER " + mark + ":6379":                                                                                      "the engine tried to replicate from another host",
		"=== REDIS BUG REPORT START: Cut & paste starting from here ===":                                                                       "the engine crashed",
		head + "# Redis 7.0.15 crashed by signal: 11, si_code: 0":                                                                              "the engine crashed",
		"=== ASSERTION FAILED CLIENT CONTEXT ===":                                                                                              "the engine crashed: an assertion failed",
		"Reading the configuration file, at line 12":                                                                                           "the engine refuses its configuration",
	} {
		got, logged := through(line + "\n")
		if !strings.Contains(logged, want) || strings.Contains(logged, mark) || got.withheld != 0 {
			t.Errorf("%q became %q", line, logged)
		}
	}
}

func TestOtherLinesAreCountedOnly(t *testing.T) {
	const head = "4711:M 24 Nov 2026 22:54:01.123 # "
	for _, line := range []string{
		mark,
		head + mark,
		head + "Client protocol error: id=3 name=" + mark + ". Query buffer during protocol error: '" + mark + "'",
		head + "client->argv[1] = \"" + mark + "\" (refcount: 1)",
		">>> 'user default on #" + mark + "'",
		"Reading the configuration file, at line " + mark,
		"Reading the configuration file, at line 12 " + mark,
		strings.Repeat("x", longestLine-1) + "Evicting client " + mark,
		"a long line, of which the rest looks like one of ours " + strings.Repeat("x", 3*longestLine) + "=== ASSERTION FAILED",
		shimHead, // the sandbox's is the first line or none
	} {
		got, logged := through("something first\n" + line + "\n")
		if logged != "" || got.withheld != 2 || got.reason != "" || got.shim != "" {
			t.Errorf("%q became %q (withheld %d)", line, logged, got.withheld)
		}
	}
}

func TestAnApplicationCannotFloodOurLog(t *testing.T) {
	_, logged := through(strings.Repeat("Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands\n", 1000))
	if n := strings.Count(logged, "\n"); n != 10 {
		t.Errorf("a thousand equal lines became %d, want 10", n)
	}
}

// FuzzNothingOfALineGetsThrough: whatever is printed, our log holds nothing
// but the table's sentences.
func FuzzNothingOfALineGetsThrough(f *testing.F) {
	f.Add("4711:M 24 Nov 2026 22:54:01.123 * Ready to accept connections\r\nfoo\n")
	f.Add("Reading the configuration file, at line 12\n>>> 'x'\n")
	f.Add("sandbox: exec: no\n=== ASSERTION FAILED\n\n\n")
	f.Add(strings.Repeat("Evicting client", 2000))
	sentences := make(map[string]bool)
	for _, t := range templates {
		sentences[t.sentence] = true
	}
	f.Fuzz(func(t *testing.T, printed string) {
		_, logged := through(printed)
		for l := range strings.Lines(logged) {
			sentence, _, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "|")
			if !ok || !sentences[sentence] {
				t.Fatalf("our log says %q", l)
			}
		}
	})
}

// through sends text through the filter and gives our log: a line a record,
// "sentence|times".
func through(text string) (*output, string) {
	var b logBuffer
	handler := slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}})
	o := &output{log: slog.New(handler)}
	o.read(strings.NewReader(text))
	logged := ""
	for l := range strings.Lines(b.String()) {
		sentence, times, _ := strings.Cut(strings.TrimPrefix(l, "msg="), " times=")
		logged += strings.Trim(sentence, `"`) + "|" + times
	}
	return o, logged
}
