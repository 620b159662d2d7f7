package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var askForPasswords = []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(d)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 AC-3"}

var certificateAloneOpensNothing = Check{
	ID: "RD-206", Goal: evidence.Access, From: OnApp,
	Title:      "This host's certificate alone opens nothing: the engine wants the password too",
	Why:        "The certificate says which host it is, not which program on it.",
	Mend:       "Something between the tunnel and the engine logs in for whoever comes: look what answers at the gateway's address; run redoubt verify on the cache host (RD-502).",
	References: askForPasswords,
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		return throughTheTunnel(ctx, t, n, func(c *conversation) Finding { return nothingWithoutPassword(n, c) })
	},
}

var wrongPasswordIsRefused = Check{
	ID: "RD-207", Goal: evidence.Access, From: OnApp,
	Title:      "A wrong password is refused, through the tunnel",
	Why:        "A password that isn't looked at is none.",
	Mend:       "Run redoubt verify on the cache host: RD-502 says which user takes what.",
	References: askForPasswords,
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		return throughTheTunnel(ctx, t, n, func(c *conversation) Finding {
			for _, login := range [][]string{
				{"AUTH", "redoubt-verify"}, {"AUTH", "default", "redoubt-verify"}, {"AUTH", "default", ""}, {"AUTH", "redoubt", "redoubt-verify"},
				{"HELLO", "3", "AUTH", "default", "redoubt-verify"},
			} {
				reply, err := c.do(login...)
				if err != nil {
					return n.Fail("%s: the connection ended: %v", login[0], err)
				}
				n.Saw("%s with a wrong password: %s", login[0], code(reply))
				if code(reply) != "WRONGPASS" {
					return n.Fail("%s with a wrong password is answered with %s", login[0], code(reply))
				}
			}
			return n.Pass("every way to log in refuses it")
		})
	},
}

var sidecarWantsThePassword = Check{
	ID: "RD-211", Goal: evidence.Access, From: OnApp,
	Title:      "The sidecar's port gives nothing without the password",
	Why:        "Every user of an application host reaches the port on loopback.",
	Mend:       "Look what listens on the port (ss -ltnp): a Redis of its own, or a proxy that logs in for others, must go.",
	References: askForPasswords,
	Needs:      []Need{needCacheBehind},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		c, err := converse(ctx, "tcp", t.App.Listen, "", "")
		if err != nil {
			return n.Skip("nothing answers at %s: %v", t.App.Listen, err)
		}
		defer c.close()
		return nothingWithoutPassword(n, c)
	},
}

// needCacheBehind: what answers on the application's port has a cache behind it. Without
// one a sidecar can't tell a right password from a wrong one, and says so or closes.
func needCacheBehind(ctx context.Context, t *Target) string {
	c, err := converse(ctx, "tcp", t.App.Listen, "", "")
	if err != nil {
		return fmt.Sprintf("nothing answers at %s: %v", t.App.Listen, err)
	}
	defer c.close()
	reply, err := c.do("AUTH", "redoubt-verify")
	if err == nil && code(reply) != "LOADING" {
		return ""
	}
	if lacking := needDoor(ctx, t); lacking != "" {
		return "the sidecar has no cache behind it: " + lacking
	}
	if own, err := ownCertificate(t.App.Certificates); err == nil {
		if err := letIn(ctx, t, own); err != nil {
			return "the sidecar has no cache behind it: " + err.Error()
		}
	}
	return ""
}

// nothingWithoutPassword tries what an application does, on a fresh connection.
func nothingWithoutPassword(n *Notes, c *conversation) Finding {
	for _, args := range [][]string{{"PING"}, {"GET", engine.GuestPrefix + "x"}, {"SET", engine.GuestPrefix + "x", "1", "EX", "1"}, {"INFO"}, {"KEYS", engine.GuestPrefix + "*"}, {"HELLO", "3"}} {
		reply, err := c.do(args...)
		if err != nil {
			return n.Fail("%s: the connection ended: %v", args[0], err)
		}
		n.Saw("%s: %s", args[0], code(reply))
		if code(reply) != "NOAUTH" {
			return n.Fail("%s is answered with %s, and not with NOAUTH", args[0], code(reply))
		}
	}
	return n.Pass("NOAUTH to everything")
}

// letIn says which door doesn't let this host in with its own certificate: behind such
// a one no password is tried. The answer tells (knock).
func letIn(ctx context.Context, t *Target, own *tls.Certificate) error {
	for _, door := range t.Doors {
		_, _, err := knock(ctx, door.Address, attacker(own))
		switch {
		case errors.Is(err, errUnreachable):
			return err
		case err != nil:
			return fmt.Errorf("%s refuses this host's own certificate: %w", door.Address, err)
		}
	}
	return nil
}

// throughTheTunnel connects with this host's genuine certificate.
func throughTheTunnel(ctx context.Context, t *Target, n *Notes, try func(*conversation) Finding) Finding {
	own, err := ownCertificate(t.App.Certificates)
	if err != nil {
		return n.Skip("this host's certificate can't be read: %v", err)
	}
	if err := letIn(ctx, t, own); err != nil {
		return n.Skip("%v", err)
	}
	var f Finding
	for _, door := range t.Doors {
		conn, _, err := shakeHands(ctx, door.Address, attacker(own))
		if err != nil {
			return n.Skip("%v", err)
		}
		f = try(newConversation(conn))
		conn.Close()
		if f.outcome != evidence.Pass {
			break
		}
	}
	return f
}

var sidecarIsLocal = Check{
	ID: "RD-212", Goal: evidence.Access, From: OnApp, Cheap: true,
	Title:      "The application's port is on loopback only",
	Why:        "What comes to it is not encrypted: on another address, patient data and the password cross the network in the clear.",
	Mend:       "Set listen: 127.0.0.1:6379 in sidecar.yaml (and take allow_non_loopback out), and restart the sidecar.",
	References: []string{"45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 SC-8"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		if t.App.Listen == "" {
			return n.Skip("no sidecar runs (redoubt status says more)")
		}
		var bound []string
		for _, address := range []string{t.App.Bound, t.App.Told} {
			if address != "" && !slices.Contains(bound, address) {
				bound = append(bound, address)
			}
		}
		n.Saw("the sidecar listens on %s", strings.Join(bound, ", and says that it does on "))
		for _, address := range bound {
			host, _, err := net.SplitHostPort(address)
			if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
				return n.Fail("it listens on %s", address)
			}
		}
		return n.Pass("%s is loopback", bound[0])
	},
}

var sidecarRefusesAWrongPassword = Check{
	ID: "RD-213", Goal: evidence.Access, From: OnApp,
	Title:      "The sidecar refuses a wrong password",
	Why:        "The sidecar answers a login itself once it has proved it: one that it took unproved would share another session's connection.",
	Mend:       "Look what listens on the port (ss -ltnp), and restart redoubt sidecar in its place.",
	References: askForPasswords,
	Needs:      []Need{needCacheBehind},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, login := range [][]string{{"AUTH", "redoubt-verify"}, {"HELLO", "3", "AUTH", "default", "redoubt-verify"}} {
			c, err := converse(ctx, "tcp", t.App.Listen, "", "")
			if err != nil {
				return n.Skip("nothing answers at %s: %v", t.App.Listen, err)
			}
			reply, err := c.do(login...)
			c.close()
			if err != nil {
				return n.Fail("%s: the connection ended: %v", login[0], err)
			}
			n.Saw("%s with a wrong password: %s", login[0], code(reply))
			if code(reply) != "WRONGPASS" {
				return n.Fail("%s with a wrong password is answered with %s", login[0], code(reply))
			}
		}
		return n.Pass("AUTH and HELLO refuse it")
	},
}
