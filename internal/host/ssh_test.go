package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sshdOn is the real sshd with a configuration of its own.
func sshdOn(t *testing.T, config string, args ...string) sshServer {
	t.Helper()
	program, err := findSSHD()
	if err != nil {
		t.Fatalf("%v (Debian's openssh-server is needed)", err)
	}
	if err := os.Mkdir("/run/sshd", 0o755); err != nil && !errors.Is(err, os.ErrExist) { // which sshd's unit makes
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, path := filepath.Join(dir, "key"), filepath.Join(dir, "sshd_config")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return sshServer{program: program, args: append([]string{"-f", path, "-h", key}, args...), by: "test"}
}

// TestEveryMatchIsFound: each way in which a file can open something for some, and no
// one else, is asked about, by the real sshd.
func TestEveryMatchIsFound(t *testing.T) {
	included := filepath.Join(t.TempDir(), "more.conf")
	if err := os.WriteFile(included, []byte("Match Address 10.60.0.0/16\n\tPasswordAuthentication yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bastions := []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24"), netip.MustParsePrefix("10.78.0.9/32")}
	for name, match := range map[string]string{
		"of a user who isn't here": "Match User deploy", "with a =": "Match user=deploy", "in quotes": `Match User "deploy"`,
		"of an account that nobody logs in to": "Match User backup", "of a group": "Match Group backup", "of groups": "Match Group nobodys,b?ckup",
		"of an address": "Match Address 10.50.0.0/16", "of all but some addresses": "Match Address 10.50.0.0/16,!10.50.0.1,!10.50.0.2",
		"of an address by a pattern": "Match Address 10.9.*", "of IPv6": "Match Address 2001:db8:7::/48",
		"of a bastion": "Match Address 10.77.0.254", "of a bastion within a network": "Match Address 10.77.0.64/26,!10.77.0.126",
		"of a local address": "Match LocalAddress 10.3.0.1", "of loopback": "Match LocalAddress 127.0.0.1", "of a port": "Match LocalPort 2222",
		"of a routing domain": "Match RDomain mgmt", "of a wildcard": "Match User dep*,!deploy", "of one letter": "Match User de?",
		"of root at a bastion":    "Match User root Address 10.78.0.9",
		"of all that comes":       "Match All",
		"behind another":          "Match User x*\n\tPasswordAuthentication no\nMatch User *y",
		"inside of another's":     "Match Address 10.0.0.0/8\n\tPasswordAuthentication no\nMatch Address 0.0.0.0/0",
		"of everybody but one":    "Match User *,!root",
		"of three things at once": "Match User carol Address 10.50.0.0/16 LocalPort 22",
		"of a host's name":        "UseDNS yes\nMatch Host *.example.org",
		"of a host's address":     "UseDNS no\nMatch Host 10.44.*",
		"of an included file":     "Include " + included + "\nMatch User nobody-at-all\n\tPermitTTY no\n#",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := SSHDropIn() + match + "\n"
			if !strings.HasSuffix(match, "#") {
				config += "\tPasswordAuthentication yes\n"
			}
			s := askOne(t, sshdOn(t, config), bastions)
			faults := s.Faults()
			if len(faults) != 1 || faults[0].Keyword != "passwordauthentication" || faults[0].Have != "yes" || !faults[0].Lasts {
				t.Fatalf("%+v\n%s\nunasked: %q", faults, strings.Join(s.Asked, "\n"), s.Unasked)
			}
			if name == "of an included file" {
				if !strings.HasPrefix(faults[0].At, included+":2, in the Match of "+included+":1") {
					t.Error(faults[0])
				}
			} else if !strings.Contains(faults[0].At, "sshd_config:") || !strings.Contains(faults[0].At, "in the Match of") {
				t.Error(faults[0])
			}
			if len(s.Unasked) > 0 {
				t.Errorf("unasked: %q", s.Unasked)
			}
		})
	}
}

func askOne(t *testing.T, server sshServer, bastions []netip.Prefix) *SSH {
	t.Helper()
	people, err := knownPeople()
	if err != nil {
		t.Fatal(err)
	}
	s := new(SSH)
	if err := s.askAll(t.Context(), server, bastions, people); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWhatIsSoundHasNoFaults, whatever its Match blocks close besides.
func TestWhatIsSoundHasNoFaults(t *testing.T) {
	for _, match := range []string{"", "Match User alice\n\tPermitTTY no\n", "Match Group nobody-is-in-it\n\tPasswordAuthentication yes\n", "Match Address !10.0.0.1\n\tPasswordAuthentication yes\n"} {
		s := askOne(t, sshdOn(t, SSHDropIn()+match), nil)
		if faults := s.Faults(); len(faults) > 0 || len(s.Unasked) > 0 || len(s.Answers) < 4 {
			t.Errorf("%q: %v, unasked %q, answers %d", match, faults, s.Unasked, len(s.Answers))
		}
	}
	s := askOne(t, sshdOn(t, SSHDropIn("tcp")), nil)
	if faults := s.Faults("tcp"); len(faults) > 0 {
		t.Error(faults)
	}
	if faults := s.Faults(); len(faults) != 1 || faults[0].Keyword != "allowtcpforwarding" {
		t.Error(faults)
	}
}

// TestWhatCountsBeforeTheFilesIsFound: sshd's own arguments.
func TestWhatCountsBeforeTheFilesIsFound(t *testing.T) {
	s := askOne(t, sshdOn(t, SSHDropIn(), "-o", "PasswordAuthentication=yes", "-p", "2222"), nil)
	faults := s.Faults()
	if len(faults) != 1 || faults[0].At != "sshd's argument -o PasswordAuthentication=yes" || !faults[0].Lasts || !strings.Contains(faults[0].Who, "port 2222") {
		t.Errorf("%+v", faults)
	}
	if faults := askOne(t, sshdOn(t, "# nothing\n"), nil).Faults(); len(faults) < 5 || faults[0].At == "" {
		t.Errorf("%+v", faults)
	}
}

// TestBoundedQuestionsAreTold: more than is asked is never taken for asked.
func TestBoundedQuestionsAreTold(t *testing.T) {
	var config strings.Builder
	config.WriteString(SSHDropIn())
	for i := range 40 {
		fmt.Fprintf(&config, "Match User u%d\n\tPermitTTY no\nMatch Address 10.%d.0.0/16\n\tPermitTTY no\n", i, i)
	}
	config.WriteString("Match User late Address 10.99.0.0/16\n\tPasswordAuthentication yes\n")
	s := askOne(t, sshdOn(t, config.String()), nil)
	if len(s.Unasked) != 1 || !strings.Contains(s.Unasked[0], "further connections") || len(s.Answers) != sshMostQuestions {
		t.Errorf("%q, %d answers", s.Unasked, len(s.Answers))
	}
	if len(s.Faults()) != 1 { // each block itself comes first
		t.Errorf("%v", s.Faults())
	}
	for _, config := range []string{"Match User a*,!a*\n\tPermitTTY no\n", "Include /etc/ssh\n"} {
		if s := askOne(t, sshdOn(t, "PermitTTY yes\n"), nil); len(s.Unasked) > 0 {
			t.Fatalf("%q", s.Unasked)
		}
		files, unasked := &sshFiles{dropIn: -1}, new(SSH)
		files.parse("f", config, nil, 0)
		q := newSSHQuestions(files, map[string]string{}, nil, nil, people{})
		for _, b := range files.blocks {
			q.applyTo(b, unasked)
		}
		if len(unasked.Unasked)+len(files.lack) != 1 {
			t.Errorf("%q: %q %q", config, unasked.Unasked, files.lack)
		}
	}
}

// TestMatchesAsSSHDDoes holds what is found here against the real sshd.
func TestMatchesAsSSHDDoes(t *testing.T) {
	values := map[string][]string{
		"user": {"root", "alice", "al", "x", "alicealice"}, "address": {"10.50.0.1", "10.5.0.1", "192.0.2.1", "2001:db8::1", "::1", "110.50.0.1"},
		"localaddress": {"10.50.0.1", "127.0.0.1", "::1"}, "localport": {"22", "2222"}, "rdomain": {"", "mgmt"}, "group": {"root", "backup", "nobody", "mail"},
	}
	patterns := map[string][]string{
		"user":      {"alice", "a*", "*", "?", "a*e", "*l*", "!alice,*", "a*,!al?ce", "root,x", "??", "*a*i*e", "**", "alice,!alice", "!root"},
		"group":     {"root", "b*", "mail,backup", "!mail,*", "*"},
		"address":   {"10.50.0.0/16", "10.*", "10.50.0.1", "!10.50.0.1,10.0.0.0/8", "2001:db8::/32", "*", "*:*", "::1", "0.0.0.0/0", "!10.0.0.0/8,*", "1?.50.0.1", "::/0"},
		"localport": {"22", "2222"}, "rdomain": {"*", "m*", "!mgmt,*"}, "localaddress": {"127.0.0.0/8", "10.50.0.1,::1"},
	}
	people, err := knownPeople()
	if err != nil {
		t.Fatal(err)
	}
	for kind, lists := range patterns {
		for _, list := range lists {
			server := sshdOn(t, fmt.Sprintf("Match %s %s\n\tPermitTTY no\n", kind, list))
			block := &sshBlock{criteria: sshCriteria(kind + " " + list)}
			for _, value := range values[kind] {
				c := sshConnection{sshUser: "root", sshName: "h", sshFrom: "172.16.0.1", sshTo: "172.16.0.2", sshPort: "1", sshDomain: "d"}
				c[sshAsks[kind]] = value
				settings, err := server.ask(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := block.holds(c, people.groups), settings["permittty"] == "no"; got != want {
					t.Errorf("Match %s %s, of %s: %v, and sshd says %v", kind, list, c, got, want)
				}
			}
		}
	}
}

func TestSSHDsArguments(t *testing.T) {
	for cmdline, want := range map[string][]string{
		"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\x00\x00":                              {},
		"sshd: /usr/sbin/sshd -D -o PasswordAuthentication=yes [listener] 1 of 10-100 startups":        {"-o", "PasswordAuthentication=yes"},
		"sshd: /usr/sbin/sshd -Do PermitRootLogin yes -p 2222 -E /log [listener] 0 of 10-100 startups": {"-o", "PermitRootLogin yes", "-p", "2222"},
		"sshd: /usr/sbin/sshd -f/etc/other -4 -oCiphers -3des-cbc [listener] 0 of 10-100 startups":     {"-f", "/etc/other", "-o", "Ciphers -3des-cbc"},
		"/usr/sbin/sshd\x00-D\x00-o\x00PasswordAuthentication yes\x00":                                 {"-o", "PasswordAuthentication yes"},
		"sshd: alice [priv]\x00": nil, "sshd: alice@pts/0": nil, "sshd: [accepted]": nil, "/usr/bin/other\x00-f\x00x\x00": nil, "": nil,
	} {
		words, listens := sshTitle(cmdline)
		if got, serves := deciding(words); !serves || listens != (want != nil) || listens && !slices.Equal(got, want) {
			t.Errorf("%q: %v %q, want %q", cmdline, listens, got, want)
		}
	}
}

// TestWhoOnlyTellsIsNoServer, as those that are started here to ask.
func TestWhoOnlyTellsIsNoServer(t *testing.T) {
	for _, args := range []string{"-T -C user=x", "-f /etc/x -t", "-DT", "-V"} {
		if _, serves := deciding(strings.Fields(args)); serves {
			t.Errorf("%s is taken for a server", args)
		}
	}
}

// TestSSHDsOfUnits, as systemctl shows them.
func TestSSHDsOfUnits(t *testing.T) {
	env := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(env, []byte("# options\nSSHD_OPTS=\"-o PasswordAuthentication=yes -4\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	service := func(id, active, enabled string) string {
		return "Id=" + id + "\nLoadState=loaded\nActiveState=" + active + "\nUnitFileState=" + enabled + "\nExecStart={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D $SSHD_OPTS ; ignore_errors=no ; pid=0 }\nEnvironmentFiles=" + env + " (ignore_errors=yes)\n"
	}
	socket := func(active, accept string) string {
		return "Id=ssh.socket\nLoadState=loaded\nActiveState=" + active + "\nUnitFileState=disabled\nAccept=" + accept + "\nListen=[::]:2200 (Stream)\n"
	}
	for name, c := range map[string]struct{ shown, want string }{
		"a service":       {service("ssh.service", "active", "enabled"), "[ssh.service [-o PasswordAuthentication=yes] []]"},
		"one that is off": {service("ssh.service", "inactive", "disabled"), "[]"},
		"a socket":        {service("ssh.service", "inactive", "disabled") + "\n" + socket("active", "no"), "[ssh.service [-o PasswordAuthentication=yes] [2200]]"},
		"one for each":    {service("ssh@redoubt.service", "inactive", "static") + "\n" + socket("active", "yes"), "[ssh@.service [-o PasswordAuthentication=yes] [2200]]"},
		"none":            {"Id=ssh.service\nLoadState=not-found\nActiveState=active\n", "[]"},
	} {
		var got []string
		for _, s := range serversOf(parseUnits(c.shown)) {
			got = append(got, fmt.Sprint(s.by, " ", s.args, " ", s.ports))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

// FuzzSSHConfig: whatever stands in a file, it is read without a panic, and what a
// pattern's witnesses are, sshd -C can be told.
func FuzzSSHConfig(f *testing.F) {
	for _, seed := range []string{SSHDropIn(), "Match User a,!b Address=10.0.0.0/8\n PasswordAuthentication=yes", "Match", "Match User", "Include", "Match Address 10.*,::/0,/,!", "=\n\"", "Match LocalPort= RDomain"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := &sshFiles{dropIn: -1}
		files.parse("f", strings.ReplaceAll(strings.ToLower(text), "include", "x"), nil, 0)
		for _, b := range files.blocks {
			for _, k := range b.criteria {
				for _, value := range k.witnesses() {
					if !sayable(value) {
						t.Errorf("%+v: %q", k, value)
					}
					k.holds(value, nil)
				}
			}
		}
		files.where(sshConnection{}, nil, "passwordauthentication")
	})
}
