package host

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// An Account is a user of this host (passwd(5), shadow(5)).
type Account struct {
	Name        string
	UID, GID    ID
	Home, Shell string
	Open        bool // without a password
}

// An ID is a user's or group's number, as it is written.
type ID string

// Plain says whether every program reads the same number there. By libc (strtoul(3))
// 00, +0 and -0 are 0 too; by what keeps 32 bits 4294967296 is, by what knows
// hexadecimal 0x0.
func (id ID) Plain() bool {
	n, err := strconv.ParseUint(string(id), 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == string(id)
}

// Login says whether the account is for somebody who logs in.
func (a Account) Login() bool {
	switch filepath.Base(a.Shell) {
	case "nologin", "false", "sync", "shutdown", "halt":
		return false
	}
	return true
}

// Accounts are all that stand in the host's own files; those of a directory service
// are the service's.
func Accounts() (list []Account, err error) {
	open := map[string]bool{}
	if err := eachLine("/etc/shadow", func(line string) {
		fields := strings.Split(line, ":")
		if len(fields) > 1 && fields[1] == "" {
			open[fields[0]] = true
		}
	}); err != nil {
		return nil, err
	}
	err = eachLine("/etc/passwd", func(line string) {
		fields := strings.Split(line, ":")
		if len(fields) < 4 || strings.HasPrefix(line, "#") {
			return // libc leaves such out, and takes what is cut off behind the group for empty
		}
		fields = append(fields, "", "", "")
		// An x says that the password stands in /etc/shadow; nothing says that there is
		// none.
		list = append(list, Account{fields[0], ID(fields[2]), ID(fields[3]), fields[5], fields[6], fields[1] == "" || fields[1] == "x" && open[fields[0]]})
	})
	return list, err
}

// A Group is one of this host's own file (group(5)).
type Group struct {
	Name    string
	GID     ID
	Members []string // but for those whose own group it is
}

// Groups are all that stand in the host's own file.
func Groups() (list []Group, err error) {
	err = eachLine("/etc/group", func(line string) {
		if fields := append(strings.Split(line, ":"), ""); len(fields) > 3 && !strings.HasPrefix(line, "#") {
			list = append(list, Group{fields[0], ID(fields[2]), strings.FieldsFunc(fields[3], func(r rune) bool { return r == ',' })})
		}
	})
	return list, err
}

// AccountFaults are what makes more than one root of a list of accounts, or opens one
// to everybody.
func AccountFaults(accounts []Account, groups []Group) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, g := range groups {
		switch {
		case !g.GID.Plain():
			add("the id of group %s is %q, which programs read as different numbers", g.Name, g.GID)
		case g.GID == "0" && g.Name != "root":
			add("%s is a second name of root's group", g.Name)
		}
	}
	for _, a := range accounts {
		for what, id := range map[string]ID{"user": a.UID, "group": a.GID} {
			if !id.Plain() {
				add("the %s id of %s is %q, which programs read as different numbers", what, a.Name, id)
			}
		}
		switch {
		case a.UID == "0" && a.Name != "root":
			add("%s has user id 0 too", a.Name)
		case a.Open:
			add("%s has no password", a.Name)
		case a.Name != "root" && a.Login() && slices.ContainsFunc(groups, func(g Group) bool { return g.GID == "0" && g.has(a) }):
			add("%s is in root's group", a.Name)
		}
	}
	return faults
}

// has says whether an account is in the group.
func (g Group) has(a Account) bool { return g.GID == a.GID || slices.Contains(g.Members, a.Name) }

// OpenAccountFiles are faults of the files' own modes: who can write them makes himself
// root, and who can read the passwords' digests guesses them.
func OpenAccountFiles() (faults []string, err error) {
	for path, forbidden := range map[string]fs.FileMode{"/etc/passwd": 0o022, "/etc/group": 0o022, "/etc/shadow": 0o027, "/etc/gshadow": 0o027} {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&forbidden != 0 {
			faults = append(faults, fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm()))
		}
		listed, err := AccessList(path)
		if err != nil {
			return nil, err
		}
		if listed {
			faults = append(faults, fmt.Sprintf("%s has an access list for single users (getfacl %[1]s)", path))
		}
	}
	return faults, nil
}

// rootGroups are those whose members become root: by sudo, as distributions set it up,
// or by what the group may do.
var rootGroups = []string{"sudo", "wheel", "admin", "docker", "lxd", "incus-admin", "disk", "shadow"}

// Sudo says who may become root: the members of the groups that are for it, whatever
// else these are called, and sudo's own rules, as they stand.
func Sudo(accounts []Account, groups []Group) (members, rules []string, err error) {
	for _, g := range groups {
		if !slices.ContainsFunc(groups, func(o Group) bool { return o.GID == g.GID && slices.Contains(rootGroups, o.Name) }) {
			continue
		}
		names := slices.Clone(g.Members)
		for _, a := range accounts {
			if g.GID == a.GID && !slices.Contains(names, a.Name) {
				names = append(names, a.Name)
			}
		}
		if len(names) > 0 {
			members = append(members, g.Name+": "+strings.Join(names, ","))
		}
	}
	files, err := filepath.Glob("/etc/sudoers.d/*")
	if err != nil {
		return nil, nil, err
	}
	for _, path := range append([]string{"/etc/sudoers"}, files...) {
		err := eachLine(path, func(line string) {
			if sudoRule(line) {
				rules = append(rules, path+": "+line)
			}
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	return members, rules, nil
}

// sudoRule says whether a line lets somebody do something (sudoers(5)): #1000 is a user
// by his number, and no comment.
func sudoRule(line string) bool {
	if number, ok := strings.CutPrefix(line, "#"); ok {
		return number != "" && number[0] >= '0' && number[0] <= '9'
	}
	return line != "" && !strings.HasPrefix(line, "@") && !strings.HasPrefix(line, "Defaults")
}

func eachLine(path string, do func(line string)) error {
	f, _, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		do(strings.TrimSpace(lines.Text()))
	}
	return lines.Err()
}
