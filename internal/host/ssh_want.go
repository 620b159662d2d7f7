package host

import (
	"slices"
	"strings"
)

// SSHWanted are the keywords that SSHDropIn answers with yes or no, in lower case, each
// with what sshd must answer. allowed are names of Forwards, of which either will do.
func SSHWanted(allowed ...string) map[string]string {
	want := map[string]string{}
	for line := range strings.Lines(SSHDropIn()) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value == "yes" || value == "no" {
			want[strings.ToLower(keyword)] = value
		}
	}
	for _, name := range allowed {
		delete(want, strings.ToLower(Forwards[name]))
	}
	return want
}

// SSHAlgorithms are the keywords whose values are lists of algorithms.
var SSHAlgorithms = []string{"ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms"}

// A SSHFault is a keyword that isn't as SSHDropIn has it.
type SSHFault struct {
	Keyword    string
	Have, Want string // Want of algorithms: "none that is broken"
	Who        string // one connection for which it is so
	Others     int    // and how many more
	At         string // FILE:LINE, or what else sets it
	// Lasts says that the drop-in can't mend it: a Match sets it, or something that
	// counts before the drop-in does.
	Lasts bool
}

// String is it for people.
func (f SSHFault) String() string {
	return f.Keyword + " is " + f.Have + " for " + f.Who + ", by " + f.At
}

// Faults are all of them, one for each keyword and place that sets it. allowed are
// names of Forwards.
func (s *SSH) Faults(allowed ...string) (faults []SSHFault) {
	want := SSHWanted(allowed...)
	for _, a := range s.Answers {
		for keyword, value := range a.Settings {
			wanted, judged := want[keyword]
			switch {
			case judged && value == wanted:
				continue
			case judged:
			case slices.Contains(SSHAlgorithms, keyword):
				i := slices.IndexFunc(strings.Split(value, ","), brokenAlgorithm)
				if i < 0 {
					continue
				}
				value, wanted = strings.Split(value, ",")[i], "none that is broken"
			default:
				continue
			}
			at, lasts := a.setAt(keyword)
			same := func(f SSHFault) bool { return f.Keyword == keyword && f.Have == value && f.At == at }
			if i := slices.IndexFunc(faults, same); i >= 0 {
				faults[i].Others++
				continue
			}
			faults = append(faults, SSHFault{keyword, value, wanted, a.Who, 0, at, lasts})
		}
	}
	slices.SortStableFunc(faults, func(a, b SSHFault) int { return strings.Compare(a.Keyword, b.Keyword) })
	return faults
}

// SSHDropInPath is where the drop-in lies.
const SSHDropInPath = "/etc/ssh/sshd_config.d/00-redoubt.conf"

// setAt says what gives an answer the value of a keyword, and whether the drop-in can't
// change that.
func (a SSHAnswer) setAt(keyword string) (at string, lasts bool) {
	f := a.files
	switch i := f.where(a.connection, a.people.groups, keyword); {
	case i < 0:
		return "sshd itself, since no file says otherwise", f.dropIn < 0
	case f.lines[i].in != nil:
		return f.lines[i].at + ", in the Match of " + f.lines[i].in.at, true
	default:
		return f.lines[i].at, f.dropIn < 0 || i < f.dropIn
	}
}

// brokenAlgorithm knows algorithms that NIST SP 800-131A disallows, and OpenSSH's own
// authors have off by default or call weak. HMAC-SHA-1 is not among them: its weakness
// in signatures doesn't touch it.
func brokenAlgorithm(algorithm string) bool {
	for _, part := range []string{"-cbc", "arcfour", "3des", "blowfish", "cast128", "hmac-md5", "umac-64", "diffie-hellman-group1-", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1", "ssh-dss", "none"} {
		if strings.Contains(algorithm, part) && !strings.HasPrefix(algorithm, "umac-64-etm") && algorithm != "umac-64@openssh.com" {
			return true
		}
	}
	return algorithm == "ssh-rsa" || strings.HasPrefix(algorithm, "ssh-rsa-cert-v01")
}
