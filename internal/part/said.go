package part

import (
	"bufio"
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
)

// A part says a line of JSON for each record of its log: level, message, attributes. All
// of it may come from whoever has taken the part over.
const (
	maxLine       = 8 << 10 // bytes; what is longer is left out
	maxAttributes = 24
	// A gateway says one line for each connection that opens or closes, and all of its
	// hosts' may come at once.
	maxLines   = 20_000 // at once
	lineEvery  = time.Second / 2000
	maxUnasked = 300 // bytes that are kept of a line that is no record: a runtime's last words
)

// nameKey is the attribute that says which part a line is from. No part says it itself.
const nameKey = "process"

// Log is what a part logs with.
func Log(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: plain}))
}

// plain leaves strings, numbers and truths.
func plain(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindDuration, slog.KindTime:
		a.Value = slog.StringValue(a.Value.String())
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case *slog.Source, slog.Level:
		case encoding.TextMarshaler:
			if text, err := v.MarshalText(); err == nil {
				a.Value = slog.StringValue(string(text))
			}
		default:
			a.Value = slog.StringValue(fmt.Sprint(v))
		}
	}
	return a
}

// said takes what a part says.
type said struct {
	log  *slog.Logger
	last string // of what was no record

	lines int // that may come now
	since time.Time
	left  int // out since the last one that was let through
}

// read reads to the end.
func (s *said) read(from io.Reader) {
	s.lines, s.since = maxLines, time.Now()
	lines := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		for tooLong := errors.Is(err, bufio.ErrBufferFull); tooLong; tooLong = errors.Is(err, bufio.ErrBufferFull) {
			line = nil
			_, err = lines.ReadSlice('\n')
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			s.take(line, time.Now())
		} else if err == nil {
			s.left++
		}
		if err != nil {
			s.tellLeft()
			return
		}
	}
}

func (s *said) take(line []byte, now time.Time) {
	if more := int(now.Sub(s.since) / lineEvery); more > 0 {
		s.lines, s.since = min(s.lines+more, maxLines), now
	}
	if s.lines == 0 {
		s.left++
		return
	}
	s.lines--
	s.tellLeft()
	level, message, attributes, err := parse(line)
	if err != nil {
		s.last = strings.ToValidUTF8(string(line[:min(len(line), maxUnasked)]), "")
		s.log.Warn("a part of this program said something that is no record", "said", s.last)
		return
	}
	s.log.LogAttrs(context.Background(), level, message, attributes...)
}

func (s *said) tellLeft() {
	if s.left > 0 {
		s.log.Warn("a part of this program says too much, or lines that are too long: some are left out", "left_out", s.left)
		s.left = 0
	}
}

// parse reads a record of Log's, whose attributes keep their order.
func parse(line []byte) (level slog.Level, message string, attributes []slog.Attr, err error) {
	fail := func() (slog.Level, string, []slog.Attr, error) { return 0, "", nil, errNoRecord }
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return fail()
	}
	for dec.More() {
		name, err := dec.Token()
		key, ok := name.(string)
		if err != nil || !ok || key == nameKey {
			return fail()
		}
		value, err := dec.Token()
		if err != nil {
			return fail()
		}
		switch v := value.(type) {
		case json.Delim, nil: // nothing that Log writes
			return fail()
		case string:
			switch key {
			case slog.MessageKey:
				message = v
			case slog.LevelKey:
				if level.UnmarshalText([]byte(v)) != nil {
					return fail()
				}
			case slog.TimeKey: // ours counts
			default:
				attributes = append(attributes, slog.String(key, v))
			}
		case json.Number:
			number := slog.StringValue(v.String())
			if whole, err := v.Int64(); err == nil {
				number = slog.Int64Value(whole)
			}
			attributes = append(attributes, slog.Attr{Key: key, Value: number})
		case bool:
			attributes = append(attributes, slog.Bool(key, v))
		}
	}
	if end, err := dec.Token(); err != nil || end != json.Delim('}') || message == "" || len(attributes) > maxAttributes {
		return fail()
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fail()
	}
	return min(level, slog.LevelError), message, attributes, nil
}

var errNoRecord = errors.New("no record")
