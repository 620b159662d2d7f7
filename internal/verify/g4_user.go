package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

var engineIsNobody = Check{
	ID: "RD-412", Goal: evidence.AtRest, From: OnCache, Cheap: true,
	Title:      "The engine runs as a user and in a group that nobody else has, in no further group, without any capability",
	Why:        "Whoever has the engine's user can read its memory and so all of the cache, and whoever has its group reaches its socket. As root, or as a user that others share, a taken engine reaches the files and processes of those.",
	Mend:       "Start the gateway as root (or with its unit), with engine.user left out or set to a user that is for this engine alone (systemd-sysusers makes redoubt-engine). End the process that is named, or find out who runs it; take people and services out of the group (gpasswd -d NAME GROUP).",
	References: askForIsolation,
	Needs:      needEngineAsRoot,
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		s, err := process{"engine", a.PID}.status()
		if err != nil {
			return n.Skip("%v", err)
		}
		uids, gids := slices.Compact(strings.Fields(s["Uid"])), slices.Compact(strings.Fields(s["Gid"])) // real, effective, saved, of the file system
		n.Saw("Uid %v, Gid %v, Groups %q", uids, gids, s["Groups"])
		if len(uids) != 1 || uids[0] == "0" || len(gids) != 1 || gids[0] == "0" || s["Groups"] != "" {
			return n.Fail("it runs as uid %v, gid %v, in the groups %q", uids, gids, s["Groups"])
		}
		for _, field := range capabilityFields {
			n.Saw("%s %s", field, s[field])
			if strings.Trim(s[field], "0") != "" {
				return n.Fail("it has capabilities: %s %s", field, s[field])
			}
		}
		accounts, err := host.Accounts()
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a container may have none
			return n.Skip("%v", err)
		}
		groups, err := host.Groups()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n.Skip("%v", err)
		}
		if whose, err := whoseAccount(uids[0], accounts, unitFiles); err != nil {
			return n.Skip("%v", err)
		} else if whose != "" {
			return n.Fail("its user is not its own: %s", whose)
		}
		if whose, err := whoseGroup(gids[0], uids[0], accounts, groups, unitFiles); err != nil {
			return n.Skip("%v", err)
		} else if whose != "" {
			return n.Fail("its group is not its own: %s", whose)
		}
		others, all, err := sharing(uids[0], gids[0], a.PID, t.Cache.PID)
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("processes of this host that were looked at: %d", all)
		if len(others) > 0 {
			return n.Fail("its user is not its own: %s", others[0])
		}
		return n.Pass("uid %s, gid %s, which no other of %d processes has; no further group, no capability", uids[0], gids[0], all)
	},
}

// unitFiles are where the host's services stand, and what is added to them
// (systemd.unit(5), UNIT FILE LOAD PATH).
var unitFiles = inEach(
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early", "/etc/systemd/system",
	"/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late",
)

func inEach(dirs ...string) (patterns []string) {
	for _, dir := range dirs {
		patterns = append(patterns, dir+"/*.service", dir+"/*service.d/*.conf")
	}
	return patterns
}

// Accounts below the first are given out by distributions once and for all, to be
// shared by whatever package wants them (Debian Policy 9.2.2: 0-99); the last is what
// file systems and namespaces show for users that they don't know, "nobody".
const (
	firstFreeUID = 100
	overflowUID  = 65534
)

// whoseAccount says who else the user database, systemd or a unit gives this uid to;
// "": nobody.
func whoseAccount(uid string, accounts []host.Account, units []string) (string, error) {
	number, err := strconv.Atoi(uid)
	if err != nil {
		return "", err
	}
	if number < firstFreeUID || number == overflowUID {
		return fmt.Sprintf("uid %d is one that distributions give to any service", number), nil
	}
	if _, err := os.Lstat(filepath.Join("/run/systemd/dynamic-uid", uid)); err == nil {
		return fmt.Sprintf("systemd has lent uid %d to a service (DynamicUser=)", number), nil
	}
	names := []string{uid}
	for _, a := range accounts {
		if is, err := strconv.Atoi(string(a.UID)); err != nil || is != number {
			continue
		}
		if a.Login() {
			return fmt.Sprintf("%s is an account that somebody can log in as (shell %s)", a.Name, a.Shell), nil
		}
		names = append(names, a.Name)
	}
	if len(names) > 2 {
		return fmt.Sprintf("%s are accounts of the same uid", strings.Join(names[1:], " and ")), nil
	}
	return whoseService(units, func(_, key, value string) bool { return key == "User" && slices.Contains(names, value) })
}

// gatewayUnit is the one that may be in the engine's group: it makes the engine.
const gatewayUnit = "redoubt-gateway.service"

// whoseGroup says who else the user database or a unit puts into the engine's group: who
// is there reaches its socket as soon as he logs in or is started. "": nobody.
func whoseGroup(gid, uid string, accounts []host.Account, groups []host.Group, units []string) (string, error) {
	number, err := strconv.Atoi(gid)
	if err != nil {
		return "", err
	}
	is := func(id host.ID, number string) bool {
		a, err := strconv.Atoi(string(id))
		b, err2 := strconv.Atoi(number)
		return err == nil && err2 == nil && a == b
	}
	own := func(name string) bool {
		return slices.ContainsFunc(accounts, func(a host.Account) bool { return a.Name == name && is(a.UID, uid) })
	}
	for _, a := range accounts {
		if is(a.GID, gid) && !is(a.UID, uid) {
			return fmt.Sprintf("it is the group of %s", a.Name), nil
		}
	}
	names := []string{strconv.Itoa(number)}
	for _, g := range groups {
		if !is(g.GID, gid) {
			continue
		}
		names = append(names, g.Name)
		for _, member := range g.Members {
			if !own(member) {
				return fmt.Sprintf("%s is in %s", member, g.Name), nil
			}
		}
	}
	return whoseService(units, func(file, key, value string) bool {
		return (key == "Group" || key == "SupplementaryGroups") && !strings.Contains(file, gatewayUnit) &&
			slices.ContainsFunc(strings.Fields(value), func(name string) bool { return slices.Contains(names, name) })
	})
}

// whoseService finds the first line KEY=VALUE of a unit that gives what is asked for.
func whoseService(units []string, gives func(file, key, value string) bool) (string, error) {
	for _, pattern := range units {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // a link to a unit that was removed, or masked
			}
			for line := range strings.Lines(string(text)) {
				key, value, _ := strings.Cut(line, "=")
				if value = strings.TrimSpace(value); gives(file, strings.TrimSpace(key), value) {
					return fmt.Sprintf("%s runs a service as %s", file, value), nil
				}
			}
		}
	}
	return "", nil
}

// sharing are the processes besides those two that have the uid, or the group, in any
// of their places; all is how many were looked at. What has ended and is only waited
// for holds nothing.
func sharing(uid, gid string, engine, gateway int) (others []string, all int, err error) {
	list, err := processes()
	if err != nil {
		return nil, 0, err
	}
	for _, p := range list {
		s, err := p.status()
		if err != nil || strings.HasPrefix(s["State"], "Z") {
			continue
		}
		all++
		groups := strings.Fields(s["Gid"] + " " + s["Groups"])
		switch {
		case p.pid == engine:
		case slices.Contains(strings.Fields(s["Uid"]), uid):
			others = append(others, fmt.Sprintf("process %d (%s) runs as uid %s too", p.pid, s["Name"], uid))
		case p.pid != gateway && slices.Contains(groups, gid): // whom its unit may put there
			others = append(others, fmt.Sprintf("process %d (%s) is in group %s too", p.pid, s["Name"], gid))
		}
	}
	return others, all, nil
}
