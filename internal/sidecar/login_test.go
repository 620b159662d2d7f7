package sidecar

import (
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// twoPasswords is a sidecar before an engine that has a user for each of two
// passwords, as one of ours has, and one more connection that may end them.
func twoPasswords(t *testing.T) (car *Sidecar, admin *client, oldUser, nextUser string) {
	oldUser, nextUser = passwords.Of([]byte(password)).User(), passwords.Of([]byte("next")).User()
	car, l := pair(t, "user default on >"+password+" >next ~* &* +@all",
		"user "+oldUser+" on >"+password+" ~* &* +@all", "user "+nextUser+" on >next ~* &* +@all",
		"user admin on >admin ~* &* +@all")
	admin = dialUnix(t, l.socket)
	admin.expect("+OK\r\n", "AUTH", "admin", "admin")
	return car, admin, oldUser, nextUser
}

// endPassword does what the gateway's supervisor does at the end of the old password.
func endPassword(admin *client, user string) {
	admin.t.Helper()
	admin.expect("+OK\r\n", "ACL", "SETUSER", "default", "resetpass", ">next")
	admin.expect(":1\r\n", "ACL", "DELUSER", user)
}

func enter(t *testing.T, car *Sidecar, auth ...string) *client {
	t.Helper()
	c := dialCar(t, car)
	c.expect("+OK\r\n", append([]string{"AUTH"}, auth...)...)
	return c
}

// lanesOf is the engine's connections of a user, by number. CLIENT INFO would
// move who asks to a lane of its own.
func lanesOf(admin *client, user string) (ids []string) {
	for line := range strings.Lines(admin.do("CLIENT", "LIST")) {
		_, id, _ := strings.Cut(line, "id=")
		if strings.Contains(line, " user="+user+" ") {
			ids = append(ids, strings.Fields(id)[0])
		}
	}
	return ids
}

func TestEachPasswordHasLanesOfItsOwnUser(t *testing.T) {
	car, admin, oldUser, nextUser := twoPasswords(t)
	for _, auth := range [][]string{{password}, {"default", password}, {"", password}, {password}, {"next"}, {"default", "next"}} {
		enter(t, car, auth...).expect("+PONG\r\n", "PING")
	}
	for user, want := range map[string]int{oldUser: 1, nextUser: 1, "default": 0} {
		if got := lanesOf(admin, user); len(got) != want {
			t.Errorf("%s has the lanes %v, want %d", user, got, want)
		}
	}
	own := enter(t, car, password)
	own.expect("+OK\r\n", "WATCH", "k")
	enter(t, car, "admin", "admin").expect("+PONG\r\n", "PING")
	waitFor(t, func() bool { return ready(t, car) })
	for user, want := range map[string]int{oldUser: 3, nextUser: 1, "default": 0, "admin": 2} { // of these, one asks
		if got := lanesOf(admin, user); len(got) != want {
			t.Errorf("with one of its own, %s has the lanes %v, want %d", user, got, want)
		}
	}
}

func TestAPasswordsEndReachesWhoCameWithItAndNobodyElse(t *testing.T) {
	car, admin, oldUser, nextUser := twoPasswords(t)
	shared, alone, waiting := enter(t, car, password), enter(t, car, password), enter(t, car, password)
	alone.expect("+OK\r\n", "WATCH", "k")
	waiting.send("BLPOP", "nothing", "0")
	waitFor(t, func() bool { return strings.Contains(admin.do("INFO", "clients"), "blocked_clients:1\r") })
	stays, own := enter(t, car, "next"), enter(t, car, "next")
	own.expect("+OK\r\n", "WATCH", "k")
	stays.expect("+PONG\r\n", "PING")
	var before []string // the shared one, its own, and one on standby
	waitFor(t, func() bool { before = lanesOf(admin, nextUser); return len(before) == 3 })

	endPassword(admin, oldUser)
	for name, c := range map[string]*client{"shared": shared, "alone": alone, "waiting": waiting} {
		if got := c.rest(); got != "" && got != errorLine(errLost) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for range 5 { // nobody is believed by what was proved before
		newcomer := dialCar(t, car)
		if got := newcomer.do("AUTH", password); !strings.HasPrefix(got, "-WRONGPASS ") {
			t.Errorf("a newcomer with the old password: %q", got)
		}
	}
	own.expect("+OK\r\n", "MULTI")
	own.expect("+QUEUED\r\n", "PING")
	own.expect("*1\r\n+PONG\r\n", "EXEC")
	stays.expect("+PONG\r\n", "PING")
	if after := lanesOf(admin, nextUser); !slices.Equal(after, before) {
		t.Errorf("the new password's lanes were %v and are %v", before, after)
	}
	if left := lanesOf(admin, oldUser); len(left) > 0 {
		t.Errorf("the old password has the lanes %v", left)
	}
}

// TestASessionWhosePasswordHasEndedIsToldSo when it needs a lane of its own.
func TestASessionWhosePasswordHasEndedIsToldSo(t *testing.T) {
	car, l := pair(t, "user default on >"+password+" ~* &* +@all", "user admin on >admin ~* &* +@all")
	admin := dialUnix(t, l.socket)
	admin.expect("+OK\r\n", "AUTH", "admin", "admin")
	c := enter(t, car, password) // an engine that isn't ours: its lane is the default user
	if got := lanesOf(admin, "default"); len(got) != 1 {
		t.Fatalf("the default user has the lanes %v", got)
	}
	admin.expect("+OK\r\n", "ACL", "SETUSER", "default", "resetpass", ">next")
	c.send("WATCH", "k")
	if got := c.rest(); !strings.HasPrefix(got, "-WRONGPASS ") {
		t.Errorf("%q", got)
	}
}
