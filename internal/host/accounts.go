package host

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		if len(fields) < 7 {
			return
		}
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
		if fields := strings.Split(line, ":"); len(fields) > 3 {
			list = append(list, Group{fields[0], ID(fields[2]), strings.FieldsFunc(fields[3], func(r rune) bool { return r == ',' })})
		}
	})
	return list, err
}

// rootGroups are those whose members sudo lets become root, as distributions set it up.
var rootGroups = []string{"sudo", "wheel", "admin"}

// Sudo says who may become root: the members of the groups that are for it, and sudo's
// own rules, as they stand.
func Sudo() (members, rules []string, err error) {
	groups, err := Groups()
	if err != nil {
		return nil, nil, err
	}
	for _, g := range groups {
		if slices.Contains(rootGroups, g.Name) && len(g.Members) > 0 {
			members = append(members, g.Name+": "+strings.Join(g.Members, ","))
		}
	}
	files, err := filepath.Glob("/etc/sudoers.d/*")
	if err != nil {
		return nil, nil, err
	}
	for _, path := range append([]string{"/etc/sudoers"}, files...) {
		err := eachLine(path, func(line string) {
			if first, _, _ := strings.Cut(line, " "); first != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "@") && !strings.HasPrefix(first, "Defaults") {
				rules = append(rules, path+": "+line)
			}
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	return members, rules, nil
}

func eachLine(path string, do func(line string)) error {
	f, err := os.Open(path)
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
