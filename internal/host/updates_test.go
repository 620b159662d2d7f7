package host

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// soundUpdates are as Debian's unattended-upgrades sets them up.
func soundUpdates() updates {
	unit := func(properties ...string) map[string]string {
		m := map[string]string{"LoadState": "loaded"}
		for i := 0; i < len(properties); i += 2 {
			m[properties[i]] = properties[i+1]
		}
		return m
	}
	timer := func() map[string]string {
		return unit("ActiveState", "active", "UnitFileState", "enabled", "NextElapseUSecRealtime", time.Now().Add(time.Hour).UTC().Format("Mon 2006-01-02 15:04:05 MST"))
	}
	service := func() map[string]string {
		return unit("ExecStart", "{ path=/usr/lib/apt/apt.systemd.daily ; argv[]=/usr/lib/apt/apt.systemd.daily install ; }")
	}
	return updates{
		id: "Debian", name: "bookworm", systemd: true,
		settings: map[string][]string{
			updateLists: {"1"}, upgrade: {"1"},
			origins: {"origin=Debian,codename=${distro_codename},label=Debian", "origin=Debian,codename=${distro_codename}-security,label=Debian-Security"},
		},
		releases: []release{
			{"bookworm", "Debian", "Debian", "stable", "bookworm", "main", "deb.example"},
			{"bookworm-security", "Debian", "Debian-Security", "stable-security", "bookworm-security", "main", "deb.example"},
		},
		packages: map[string]string{"redis-server": "install", "openssh-server": "install", "linux-image-amd64": "install", "docker-ce": "install"},
		units:    map[string]map[string]string{"apt-daily.timer": timer(), "apt-daily-upgrade.timer": timer(), "apt-daily.service": service(), "apt-daily-upgrade.service": service()},
	}
}

// TestUpdatesThatDoNotCome, one cause at a time, and the like that does no harm.
func TestUpdatesThatDoNotCome(t *testing.T) {
	set := func(key string, values ...string) func(*updates) {
		return func(u *updates) { u.settings[key] = values }
	}
	unit := func(name, key, value string) func(*updates) {
		return func(u *updates) { u.units[name][key] = value }
	}
	for name, c := range map[string]struct {
		change func(*updates)
		want   string // "": nothing
	}{
		"sound":                         {func(*updates) {}, ""},
		"never":                         {set(upgrade, "0"), "Unattended-Upgrade is"},
		"never, otherwise written":      {set(upgrade, "0h"), "Unattended-Upgrade is"},
		"not said":                      {set(updateLists), "Update-Package-Lists is"},
		"once a year":                   {set(upgrade, "365"), "Unattended-Upgrade is"},
		"each time":                     {set(upgrade, "always"), ""},
		"by the hour":                   {set(upgrade, "12h"), ""},
		"turned off":                    {set(enable, "0"), "Enable is 0"},
		"turned off by 00":              {set(enable, "00"), "Enable is 00"},
		"on shutdown":                   {set(onShutdown, "true"), "InstallOnShutdown"},
		"a timer masked":                {unit("apt-daily.timer", "LoadState", "masked"), "apt-daily.timer is masked"},
		"a timer disabled":              {unit("apt-daily-upgrade.timer", "UnitFileState", "disabled"), "apt-daily-upgrade.timer is active and disabled"},
		"a timer stopped":               {unit("apt-daily-upgrade.timer", "ActiveState", "inactive"), "is inactive"},
		"a timer that comes next year":  {unit("apt-daily-upgrade.timer", "NextElapseUSecRealtime", time.Now().AddDate(1, 0, 0).UTC().Format("Mon 2006-01-02 15:04:05 MST")), "comes no sooner"},
		"a service masked":              {unit("apt-daily-upgrade.service", "LoadState", "masked"), "apt-daily-upgrade.service is masked"},
		"a service that does else":      {unit("apt-daily-upgrade.service", "ExecStart", "{ path=/bin/true ; argv[]=/bin/true ; }"), "something else"},
		"the engine held back":          {set(blacklist, "redis"), "keeps redis-server"},
		"the kernel held back":          {set(blacklist, "linux-"), "keeps linux-image-amd64"},
		"sshd by a pattern":             {set(blacklist, ".*-server$"), "keeps openssh-server"},
		"what isn't ours":               {set(blacklist, "docker"), ""},
		"what isn't ours, by its end":   {set(blacklist, "server$"), ""},
		"a list of what may":            {set(whitelist, "docker"), "Package-Whitelist keeps"},
		"a pattern of Python's alone":   {set(blacklist, "(?!redis)"), "can't be judged"},
		"on hold":                       {func(u *updates) { u.packages["openssh-server"] = "hold" }, "on hold"},
		"no security in the patterns":   {set(origins, "origin=Debian,codename=${distro_codename},label=Debian"), "no Origins-Pattern"},
		"a pattern of nobody":           {set(origins, "origin=nobody"), "no Origins-Pattern"},
		"no pattern":                    {set(origins), "no Origins-Pattern"},
		"another release's":             {set(origins, "origin=Debian,codename=bullseye-security"), "no Origins-Pattern"},
		"a part that has none":          {set(origins, "origin=Debian,component=non-free"), "no Origins-Pattern"},
		"an unknown key":                {set(origins, "colour=blue"), "no Origins-Pattern"},
		"by a star":                     {set(origins, "o=Debian,a=*-security"), ""},
		"no source":                     {func(u *updates) { u.releases = u.releases[:1] }, "no source of security"},
		"lists that were never fetched": {func(u *updates) { u.releases[1] = release{name: "bookworm-security"} }, ""},
		"Ubuntu's way": {func(u *updates) {
			u.id, u.name, u.settings[origins], u.settings[allowed] = "Ubuntu", "noble", nil, []string{"${distro_id}:${distro_codename}", "${distro_id}:${distro_codename}-security"}
			u.releases = []release{{"noble-security", "Ubuntu", "Ubuntu", "noble-security", "noble", "main", "x"}}
		}, ""},
	} {
		u := soundUpdates()
		c.change(&u)
		got := u.faults()
		if (len(got) == 0) != (c.want == "") || c.want != "" && !slices.ContainsFunc(got, func(f string) bool { return strings.Contains(f, c.want) }) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := slices.Sorted(maps.Keys(soundUpdates().units)); len(got) != len(aptUnits) {
		t.Error(got)
	}
}

func TestASourceThatWasNotFetchedYetIsOne(t *testing.T) {
	var u updates
	for _, line := range []string{
		"bookworm|Debian|Debian|stable|bookworm|main|http://mirror.invalid/debian",
		"bookworm|$(ORIGIN)|$(LABEL)|$(SUITE)|$(CODENAME)|main|http://mirror.invalid/debian",
		"bookworm-security|$(ORIGIN)|$(LABEL)|$(SUITE)|$(CODENAME)|main|http://security.invalid/debian-security",
		"no line of ours",
	} {
		u.addRelease(line)
	}
	want := []release{
		{"bookworm", "Debian", "Debian", "stable", "bookworm", "main", "mirror.invalid"},
		{name: "bookworm-security", component: "main", site: "security.invalid"},
	}
	if !slices.Equal(u.releases, want) {
		t.Errorf("%+v", u.releases)
	}
}

// What systemd 252 prints of Debian 12's units.
const aptShown = `NextElapseUSecRealtime=Sat 2026-11-28 06:43:47 UTC
Id=apt-daily-upgrade.timer
LoadState=loaded
ActiveState=active
UnitFileState=enabled

ExecStart={ path=/usr/lib/apt/apt.systemd.daily ; argv[]=/usr/lib/apt/apt.systemd.daily install ; ignore_errors=no ; pid=0 }
Id=apt-daily-upgrade.service
LoadState=loaded
ActiveState=inactive
UnitFileState=static
`

// TestEachUnitHasWhatIsShownOfIt, and not what is shown of the next one.
func TestEachUnitHasWhatIsShownOfIt(t *testing.T) {
	units := unitsByID(aptShown)
	if got := units["apt-daily-upgrade.service"]["ExecStart"]; !strings.Contains(got, "/apt.systemd.daily install") {
		t.Errorf("the service starts %q", got)
	}
	if got := units["apt-daily-upgrade.timer"]; got["ExecStart"] != "" || got["NextElapseUSecRealtime"] == "" {
		t.Errorf("the timer: %v", got)
	}
}
