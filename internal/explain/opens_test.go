package explain

import (
	"testing"

	"github.com/redoubt-cache/redoubt/internal/command"
)

func TestWhatOpensACommand(t *testing.T) {
	for name, want := range map[string]string{
		"eval":            "uses: locks or queues; allow: scripting",
		"fcall":           "allow: functions",
		"keys":            "open unless deny has keys",
		"subscribe":       "open unless deny has pubsub",
		"flushall":        Nothing,
		"dump":            Nothing,
		"georadius":       Nothing,
		"config|set":      Nothing,
		"vadd":            Nothing, // of one product
		"client|tracking": "open unless deny has tracking",
	} {
		c := named(t, name)
		if got := Opens(c); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func named(t *testing.T, name string) *command.Command {
	t.Helper()
	for _, c := range command.All() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("the table has no %s", name)
	return nil
}
