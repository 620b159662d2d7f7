package command

import (
	"slices"
	"strings"
	"testing"
)

// TestEachUseIsGivenOnce, to a command that there is; and what is pinned or local has
// one of its own, since its class says too little.
func TestEachUseIsGivenOnce(t *testing.T) {
	given := map[string]bool{}
	for _, u := range uses {
		for _, name := range strings.Fields(u.names) {
			if given[name] || table[name] == nil {
				t.Errorf("%s has two uses, or is no command", name)
			}
			given[name] = true
		}
	}
	for _, c := range All() {
		if (c.Class == Pinned || c.Class == Local) && !given[c.Name] && c.Name != "cluster" && !strings.HasPrefix(c.Name, "cluster|") {
			t.Errorf("%s is %v, and nothing says what is done with it", c.Name, c.Class)
		}
	}
}

// TestUsesFollowClasses: what must hold of all commands, new ones too.
func TestUsesFollowClasses(t *testing.T) {
	scripts := strings.Fields("eval eval_ro evalsha evalsha_ro fcall fcall_ro")
	for _, c := range append(All(), &unknown) {
		switch {
		case c.Barred && (c.OnShared != Refuse || c.OnPrivate != Refuse):
			t.Errorf("%s is barred, but %v and %v", c.Name, c.OnShared, c.OnPrivate)
		case !c.Barred && (c.OnShared == Refuse || c.OnPrivate == Refuse):
			t.Errorf("%s is refused here, but not barred", c.Name)
		case c.Class == Pinned && c.OnShared != Leave && c.OnShared != Block:
			t.Errorf("%s is pinned, but on a shared lane: %v", c.Name, c.OnShared)
		case c.Class == Shared && c.OnShared != Send && !slices.Contains(scripts, c.Name):
			t.Errorf("%s is shared, but on a shared lane: %v", c.Name, c.OnShared)
		case c.OnPrivate == Leave || c.OnPrivate == Block || c.OnShared == Track || c.OnShared == Uncount || c.OnShared == Doubt:
			t.Errorf("%s: %v on a shared lane, %v on a private one: no such thing", c.Name, c.OnShared, c.OnPrivate)
		case (c.OnPrivate == Uncount || c.OnPrivate == Doubt) && c.Returns != Never:
			t.Errorf("%s: its replies may end the count, and it returns", c.Name)
		case !c.Known() && (c.OnShared != Leave || c.OnPrivate != Doubt || c.Returns != Never):
			t.Errorf("what isn't known: %v, %v, %v", c.OnShared, c.OnPrivate, c.Returns)
		}
	}
}
