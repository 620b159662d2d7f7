package passwords

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	old, next = Of([]byte("old")), Of([]byte("next"))
	noon      = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

func TestParseTakesWhatFormatGivesAndNothingElse(t *testing.T) {
	good := Set{{Digest: old, Until: noon}, {Digest: next}}
	got, err := Parse(good.Format())
	if err != nil || !reflect.DeepEqual(got, good) {
		t.Fatalf("got %v, %v", got, err)
	}
	line := next.String() + "\n"
	for text, want := range map[string]string{
		"":                                "is empty",
		"\n \n":                           "is empty",
		line[:64]:                         "no line end",
		line[:40] + "\n":                  "line 1 is not a SHA-256",
		strings.ToUpper(line):             "lower case",
		line + "hunter2\n":                "line 2 is not a SHA-256",
		line + line:                       "twice",
		line[:64] + " until tomorrow\n":   "RFC 3339",
		line[:64] + " until 2026-11-2":    "no line end",
		line[:64] + " unti\n":             "SHA-256",
		line[:64] + " until 2026-11-2\n":  "RFC 3339",
		string(good[:1].Format()):         "no password without an end",
		strings.Repeat(string(many()), 1): "more than 8",
		line + "\x00\x00":                 "no line end",
		line[:64] + " until 0001-01-01T00:00:00Z\n": "RFC 3339",
	} {
		if set, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, %v; want an error with %q", text, set, err, want)
		}
	}
}

func many() []byte {
	var s Set
	for i := range Most + 1 {
		s = s.With(Of([]byte{byte(i)}))
	}
	return s.Format()
}

func TestAPasswordIsGoodUntilItsEnd(t *testing.T) {
	s := Set{{Digest: old, Until: noon}, {Digest: next}}
	for at, want := range map[time.Time][]Digest{
		noon.Add(-time.Second): {old, next}, noon: {next}, noon.Add(time.Hour): {next},
	} {
		if got := s.Good(at); !slices.Equal(got, want) {
			t.Errorf("at %s: %v, want %v", at, got, want)
		}
	}
}

func TestAnOverlapIsNeverMadeLonger(t *testing.T) {
	s := Set{{Digest: old, Until: noon}, {Digest: next}}
	third := Of([]byte("third"))
	got := s.With(third).EndOthers(noon.Add(time.Hour), third)
	want := Set{{old, noon}, {next, noon.Add(time.Hour)}, {Digest: third}}
	if !reflect.DeepEqual(got, want) || s[1].Until != (time.Time{}) {
		t.Errorf("got %v, want %v; the set itself is %v", got, want, s)
	}
	if got := got.Retire(); len(got) != 1 || got[0].Digest != third {
		t.Errorf("retired: %v", got)
	}
}

// FuzzParse: whatever is taken is a valid set, written as it was meant.
func FuzzParse(f *testing.F) {
	f.Add([]byte(old.String() + "\n"))
	f.Add(Set{{Digest: old, Until: noon}, {Digest: next}}.Format())
	f.Add([]byte(old.String() + " until 2026-11-25T12:00:00+02:00\r\n\n" + next.String() + " \n"))
	f.Add(many())
	f.Add([]byte(old.String() + " until 2026-11-25T"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			return
		}
		again, err := Parse(s.Format())
		if err != nil || len(again) != len(s) || s.Check() != nil || len(s.Good(noon.AddDate(9000, 0, 0))) == 0 {
			t.Fatalf("%q: %v, %v, %v", data, s, again, err)
		}
		if data[len(bytes.TrimRight(data, " \t\r"))-1] != '\n' {
			t.Fatalf("%q was taken without a line end", data)
		}
	})
}
