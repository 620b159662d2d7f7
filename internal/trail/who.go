package trail

import (
	"os"
	"os/user"
	"strconv"
	"strings"
)

// Who is who gave a command.
type Who struct {
	Host string `json:"host"`
	UID  int    `json:"uid"`
	User string `json:"user,omitempty"` // its name here
	// Login is whom this session was opened for, whatever he has become since: the
	// kernel's audit login uid, which pam_loginuid sets and sudo leaves. "": nobody
	// logged in (a service, cron), or the kernel doesn't tell.
	Login string `json:"login,omitempty"`
	// Sudo is what sudo says, which root could say as well: SUDO_USER.
	Sudo string `json:"sudo,omitempty"`
}

// unset is the login uid of what nobody has logged in for: (uid_t)-1.
const unset = "4294967295"

// Me is who runs this process.
func Me() *Who {
	w := &Who{UID: os.Getuid(), Sudo: bounded(os.Getenv("SUDO_USER"))}
	w.Host, _ = os.Hostname()
	w.User = nameOf(strconv.Itoa(w.UID))
	if text, err := os.ReadFile("/proc/self/loginuid"); err == nil && strings.TrimSpace(string(text)) != unset {
		login := strings.TrimSpace(string(text))
		if w.Login = nameOf(login); w.Login == "" {
			w.Login = "uid " + login
		}
	}
	return w
}

func nameOf(uid string) string {
	if u, err := user.LookupId(uid); err == nil {
		return bounded(u.Username)
	}
	return ""
}

// maxText bounds each text of a record, and maxArgs the arguments: below maxLine, though
// JSON may write six bytes for one.
const (
	maxText = 160
	maxArgs = 12
)

// bounded is a text that is not too long, and UTF-8, as JSON can have it.
func bounded(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// Arguments are a command's as a record has them: the first so many, none too long.
func Arguments(args []string) (list []string) {
	for i, a := range args {
		if i == maxArgs {
			return append(list, "...")
		}
		list = append(list, bounded(a))
	}
	return list
}
