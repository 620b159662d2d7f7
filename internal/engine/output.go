package engine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/bits"
	"regexp"
	"strings"
	"sync"
)

// What the engine prints is treated as patient data, because it can be: a
// client over client-query-buffer-limit is logged at WARNING with the first
// bytes of its query, a failed assertion logs every argument of the current
// command, redis.log() writes whatever a script gives it. No setting stops all
// of these in all versions. So nothing is passed on. A line that is recognised
// by a template becomes a sentence of ours; every other line is counted.

// A template recognises one message of the engine. Nothing of the line gets
// into the sentence, but for a number that the table takes on purpose.
type template struct {
	prefix   string         // of the message, behind the log's own head
	contains string         // and somewhere behind it
	number   *regexp.Regexp // or, instead of the two: its one group is a number that is no data
	level    slog.Level
	sentence string
	fatal    bool // explains why the engine does not start
}

// configLine is where the engine reads its configuration when it finds fault
// with it (config.c); the number counts our own lines.
var configLine = regexp.MustCompile(`^Reading the configuration file, at line ([0-9]{1,4})$`)

// templates is looked through from the top; the first that fits counts. The
// words stand in server.c, networking.c, config.c, debug.c, rdb.c, aof.c,
// replication.c, module.c, anet.c and evict.c of 7.0 to 9.1.
var templates = []template{
	// Ordinary life.
	{prefix: "oO0OoO0OoO0Oo ", level: slog.LevelDebug, sentence: "the engine starts"},
	{prefix: "Configuration loaded", level: slog.LevelDebug, sentence: "the engine has read its configuration"},
	{prefix: "Server initialized", level: slog.LevelDebug, sentence: "the engine is initialised"},
	{prefix: "Ready to accept connections", level: slog.LevelDebug, sentence: "the engine listens"},
	{prefix: "The server is now ready to accept connections", level: slog.LevelDebug, sentence: "the engine listens"},
	{prefix: "Received SIGTERM", level: slog.LevelDebug, sentence: "the engine was asked to stop"},
	{prefix: "Received SIGINT", level: slog.LevelDebug, sentence: "the engine was asked to stop"},
	{prefix: "User requested shutdown", level: slog.LevelDebug, sentence: "the engine stops"},
	{contains: " is now ready to exit, bye bye", level: slog.LevelDebug, sentence: "the engine has stopped"},
	{prefix: "Increased maximum number of open files to ", level: slog.LevelDebug, sentence: "the engine raised its limit of open files"},

	// Limits met: something for the operator to look at.
	{prefix: "Closing client that reached max query buffer length", level: slog.LevelWarn, sentence: "the engine closed a client: its command was larger than the limit"},
	{prefix: "Client ", contains: "overcoming of output buffer limits", level: slog.LevelWarn, sentence: "the engine closed a client: it did not read its replies"},
	{prefix: "Evicting client", level: slog.LevelWarn, sentence: "the engine evicted a client"},
	{prefix: "Possible SECURITY ATTACK detected", level: slog.LevelWarn, sentence: "a client spoke HTTP to the engine"},
	{prefix: "Slow script detected", level: slog.LevelWarn, sentence: "a script keeps the engine busy"},
	{prefix: "Error accepting a client connection", level: slog.LevelWarn, sentence: "the engine could not accept a connection"},
	{prefix: "You requested maxclients of ", level: slog.LevelWarn, sentence: "the limit of open files is too low for the number of clients: raise LimitNOFILE"},
	{prefix: "Server can't set maximum open files to ", level: slog.LevelWarn, sentence: "the limit of open files is too low for the number of clients: raise LimitNOFILE"},
	{prefix: "Current maximum open files is ", level: slog.LevelWarn, sentence: "the engine takes fewer clients than configured: raise LimitNOFILE"},
	{prefix: "WARNING You have Transparent Huge Pages", level: slog.LevelInfo, sentence: "transparent huge pages are on: expect latency; set them to madvise"},

	// Attempts that the sandbox refuses: nothing of ours asks for them.
	{prefix: "Can't save in background: fork", level: slog.LevelError, sentence: "the engine tried to write its data to a disk"},
	{prefix: "Background saving ", level: slog.LevelError, sentence: "the engine tried to write its data to a disk"},
	{prefix: "Failed opening the temp RDB file", level: slog.LevelError, sentence: "the engine tried to write its data to a disk"},
	{prefix: "Can't rewrite append only file in background", level: slog.LevelError, sentence: "the engine tried to write its data to a disk"},
	{prefix: "Can't open or create append-only dir", level: slog.LevelError, sentence: "the engine tried to write its data to a disk"},
	{prefix: "Connecting to MASTER ", level: slog.LevelError, sentence: "the engine tried to replicate from another host"},
	{prefix: "Connecting to PRIMARY ", level: slog.LevelError, sentence: "the engine tried to replicate from another host"},
	{prefix: "Unable to connect to MASTER", level: slog.LevelError, sentence: "the engine tried to replicate from another host"},
	{prefix: "Unable to connect to PRIMARY", level: slog.LevelError, sentence: "the engine tried to replicate from another host"},
	{prefix: "Module ", contains: " failed to load", level: slog.LevelError, sentence: "the engine tried to load a module"},

	// The end.
	{contains: "BUG REPORT START", level: slog.LevelError, sentence: "the engine crashed"},
	{contains: " crashed by signal: ", level: slog.LevelError, sentence: "the engine crashed"},
	{prefix: "=== ASSERTION FAILED", level: slog.LevelError, sentence: "the engine crashed: an assertion failed"},
	{contains: "Guru Meditation", level: slog.LevelError, sentence: "the engine crashed: it panicked"},
	{prefix: "Out Of Memory allocating", level: slog.LevelError, sentence: "the engine crashed: out of memory", fatal: true},

	// Why it does not start.
	{number: configLine, level: slog.LevelError, sentence: "the engine refuses its configuration", fatal: true},
	// Redis 8 takes an unknown directive for a module's, and finds no module.
	{prefix: "Module Configuration detected without loadmodule directive", level: slog.LevelError, sentence: "the engine does not know a directive of its configuration", fatal: true},
	{prefix: "Failed to configure LOCALE", level: slog.LevelError, sentence: "the engine does not know the locale that it was started with", fatal: true},
	{prefix: "Failed opening Unix socket", level: slog.LevelError, sentence: "the engine could not open its socket", fatal: true},
	{prefix: "Failed listening on ", level: slog.LevelError, sentence: "the engine could not listen", fatal: true},
	{prefix: "Could not create server TCP listening socket", level: slog.LevelError, sentence: "the engine could not listen", fatal: true},
	{prefix: "Configured to not listen anywhere", level: slog.LevelError, sentence: "the engine was told to listen nowhere", fatal: true},
	{prefix: "Can't open the log file", level: slog.LevelError, sentence: "the engine tried to open a log file", fatal: true},
	{prefix: "Can't chdir to ", level: slog.LevelError, sentence: "the engine could not enter its directory", fatal: true},
	{contains: "error while loading shared libraries", level: slog.LevelError, sentence: "a shared library of the engine is missing or may not be read", fatal: true},
}

// shimHead begins the one line that a sandbox prints when it can't be set up.
// Only the very first line of a life is taken for that: an engine always prints
// something before it listens, so by then no data has ever reached it.
const shimHead = "sandbox: "

// longestLine is how much of a line is looked at; no template is longer.
const longestLine = 4096

// logHead is what the engine puts before a message: "1234:M 24 Nov 2026
// 22:54:01.123 * ". Lines of a crash report have none.
var logHead = regexp.MustCompile(`^\d{1,10}:[A-Z] \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2}\.\d{3} [.*#-] `)

// recognise finds the template of a line. number is what it took, or empty.
func recognise(line string) (t template, number string, ok bool) {
	message := line[len(logHead.FindString(line)):]
	for _, t := range templates {
		if t.number != nil {
			if m := t.number.FindStringSubmatch(message); m != nil {
				return t, m[1], true
			}
			continue
		}
		if strings.HasPrefix(message, t.prefix) && strings.Contains(message[len(t.prefix):], t.contains) {
			return t, "", true
		}
	}
	return template{}, "", false
}

// output reads everything that one life of the engine prints.
type output struct {
	log *slog.Logger

	mu       sync.Mutex
	lines    uint64            // read so far
	seen     map[string]uint64 // by sentence
	withheld uint64
	reason   string // why it did not start, as far as it said
	shim     string // what the sandbox said, if it was the first to speak
}

// read drains r to its end; the engine must never block on a full pipe.
func (o *output) read(r io.Reader) {
	b := bufio.NewReaderSize(r, longestLine)
	whole := true // the piece begins a line
	for {
		piece, err := b.ReadSlice('\n')
		if len(piece) > 0 && whole {
			o.line(strings.TrimRight(string(piece), "\r\n"))
		}
		whole = !errors.Is(err, bufio.ErrBufferFull)
		if err != nil && whole {
			return
		}
	}
}

// line takes one line. An application can provoke some of them at will, so a
// sentence is logged at its 1st, 2nd, 4th, 8th … time only.
func (o *output) line(text string) {
	if text == "" {
		return
	}
	t, number, ok := recognise(text)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines++
	if o.lines == 1 && strings.HasPrefix(text, shimHead) {
		o.shim = strings.TrimPrefix(text, shimHead)
		return
	}
	if !ok {
		o.withheld++
		return
	}
	if t.fatal && o.reason == "" {
		o.reason = t.sentence
		if number != "" {
			o.reason += " (line " + number + " of what we rendered)"
		}
	}
	if o.seen == nil {
		o.seen = make(map[string]uint64)
	}
	o.seen[t.sentence]++
	if times := o.seen[t.sentence]; bits.OnesCount64(times) == 1 {
		o.log.Log(context.Background(), t.level, t.sentence, "times", times)
	}
}

// end gives what is known of a life that is over.
func (o *output) end() (reason, shim string, withheld uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason, o.shim, o.withheld
}
