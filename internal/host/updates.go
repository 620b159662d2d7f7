package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrUnknownUpdates says that this distribution's way of installing updates by itself
// is none that we know.
var ErrUnknownUpdates = errors.New("this is no system with apt, and how others install updates by themselves isn't known here")

const (
	aptWithin = 10 * time.Second
	// updatesEvery is how seldom updates may come to be called by themselves: a flaw is
	// used within days.
	updatesEvery = 7 * 24 * time.Hour
)

// updates are what decides whether they come, as apt, dpkg and systemd tell it.
type updates struct {
	settings map[string][]string // of apt.conf(5); lists have several values
	releases []release           // of which apt fetches packages
	packages map[string]string   // those installed, with what dpkg is to do with them
	units    map[string]map[string]string
	systemd  bool
	id, name string // of the distribution: Debian, bookworm
}

// A release is a source of apt's, as its Release file has it, as far as it was fetched.
type release struct{ name, origin, label, suite, codename, component, site string }

// security says whether it is for security updates.
func (r release) security() bool {
	return strings.Contains(strings.ToLower(r.name+r.label+r.suite+r.codename), "security")
}

// UpdatesThemselves says what keeps security updates from being fetched and installed
// without anybody's doing, by what apt, dpkg and systemd say is in force; nothing does
// if faults is empty. seen is what was found, for people.
func UpdatesThemselves(ctx context.Context) (faults, seen []string, err error) {
	if _, err := exec.LookPath("apt-config"); err != nil {
		return nil, nil, ErrUnknownUpdates
	}
	if info, err := os.Stat("/usr/bin/unattended-upgrade"); err != nil || info.Mode().Perm()&0o111 == 0 {
		return []string{"unattended-upgrades is not installed"}, nil, nil
	}
	u, err := askForUpdates(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range u.releases {
		seen = append(seen, fmt.Sprintf("apt fetches from %s %s (%s, %s, %s)", r.name, r.component, r.origin, r.label, r.suite))
	}
	for _, key := range []string{updateLists, upgrade, origins, allowed, blacklist, whitelist} {
		seen = append(seen, fmt.Sprintf("%s: %s", key, strings.Join(u.settings[key], "; ")))
	}
	return u.faults(), seen, nil
}

func askForUpdates(ctx context.Context) (u updates, err error) {
	ctx, cancel := context.WithTimeout(ctx, aptWithin)
	defer cancel()
	u.settings, u.packages = map[string][]string{}, map[string]string{}
	tell := func(do func(line string), argv ...string) error {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv[:2], " "), err)
		}
		for line := range strings.Lines(string(out)) {
			do(strings.TrimRight(line, "\n"))
		}
		return nil
	}
	err = errors.Join(
		tell(func(line string) {
			key, value, _ := strings.Cut(line, "=")
			key = strings.ToLower(strings.TrimSuffix(key, "::"))
			for _, list := range []string{origins, allowed, blacklist, whitelist} { // its members may have names
				if strings.HasPrefix(key, list+"::") {
					key = list
				}
			}
			if value != "" {
				u.settings[key] = append(u.settings[key], value)
			}
		}, "apt-config", "dump", "--format", "%f=%v%n"),
		// Those that were fetched, and then all: what wasn't fetched yet is not shown
		// among the first, and without release info none has any.
		tell(u.addRelease, "apt-get", "indextargets", "--format", releaseFormat, "Created-By: Packages"),
		tell(u.addRelease, "apt-get", "indextargets", "--no-release-info", "--format", releaseFormat, "Created-By: Packages"),
		tell(func(line string) {
			if f := strings.Fields(line); len(f) == 3 && f[2] == "installed" {
				u.packages[f[0]] = f[1]
			}
		}, "dpkg-query", "--show", "--showformat=${Package} ${db:Status-Want} ${db:Status-Status}\n"))
	if err != nil {
		return u, err
	}
	err = eachLine("/etc/os-release", func(line string) {
		switch key, value, _ := strings.Cut(line, "="); key {
		case "ID":
			if u.id = strings.Trim(value, `"`); u.id != "" {
				u.id = strings.ToUpper(u.id[:1]) + u.id[1:]
			}
		case "VERSION_CODENAME":
			u.name = strings.Trim(value, `"`)
		}
	})
	if info, statErr := os.Lstat("/run/systemd/system"); statErr == nil && info.IsDir() {
		u.systemd = true
		var shown strings.Builder
		err = errors.Join(err, tell(func(line string) { fmt.Fprintln(&shown, line) },
			append([]string{"systemctl", "show", "--property=Id,LoadState,ActiveState,UnitFileState,NextElapseUSecRealtime,ExecStart"}, aptUnits...)...))
		u.units = unitsByID(shown.String())
	}
	return u, err
}

const releaseFormat = "$(RELEASE)|$(ORIGIN)|$(LABEL)|$(SUITE)|$(CODENAME)|$(COMPONENT)|$(SITE)"

// addRelease adds a line of apt-get indextargets, unless more is known of the release.
func (u *updates) addRelease(line string) {
	f := strings.Split(line, "|")
	if len(f) != 7 {
		return
	}
	for i := range f {
		if strings.HasPrefix(f[i], "$(") { // not known
			f[i] = ""
		}
	}
	_, site, _ := strings.Cut(f[6], "://")
	site, _, _ = strings.Cut(site, "/")
	r := release{f[0], f[1], f[2], f[3], f[4], f[5], site}
	if !slices.ContainsFunc(u.releases, func(o release) bool {
		return o == r || r.origin == "" && o.name == r.name && o.component == r.component && o.site == r.site
	}) {
		u.releases = append(u.releases, r)
	}
}

// unitsByID are the units of what systemctl shows, which has what is of a service or a
// timer alone before the Id.
func unitsByID(shown string) map[string]map[string]string {
	units := map[string]map[string]string{}
	for _, u := range parseUnits(shown) {
		properties := map[string]string{}
		for name, values := range u {
			properties[name] = strings.Join(values, " ")
		}
		units[u.id()] = properties
	}
	return units
}

// aptUnits start apt's work (apt.systemd.daily): the lists first, then the upgrade.
var aptUnits = []string{"apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service", "apt-daily-upgrade.service"}

// Keys of apt.conf(5) and of unattended-upgrades, in lower case as apt compares them.
const (
	enable      = "apt::periodic::enable"
	updateLists = "apt::periodic::update-package-lists"
	upgrade     = "apt::periodic::unattended-upgrade"
	origins     = "unattended-upgrade::origins-pattern"
	allowed     = "unattended-upgrade::allowed-origins"
	blacklist   = "unattended-upgrade::package-blacklist"
	whitelist   = "unattended-upgrade::package-whitelist"
	onShutdown  = "unattended-upgrade::installonshutdown"
)

func (u updates) faults() (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for key, name := range map[string]string{updateLists: "Update-Package-Lists", upgrade: "Unattended-Upgrade"} {
		value := strings.Join(u.settings[key], "")
		if every, known := aptInterval(value); !known || every > updatesEvery {
			add("APT::Periodic::%s is %q, which is not once in %d days", name, value, updatesEvery/24/time.Hour)
		}
	}
	if v := strings.Join(u.settings[enable], ""); v != "" && strings.Trim(v, "0") == "" {
		add("APT::Periodic::Enable is %s", v)
	}
	if v := strings.ToLower(strings.Join(u.settings[onShutdown], "")); slices.Contains([]string{"true", "yes", "on", "with", "enable", "1"}, v) {
		add("Unattended-Upgrade::InstallOnShutdown is %s: a server that stays up gets none", v)
	}
	faults = append(faults, u.timerFaults(time.Now())...)
	if !slices.ContainsFunc(u.releases, release.security) {
		add("apt has no source of security updates")
	} else if !slices.ContainsFunc(u.releases, func(r release) bool { return r.security() && u.takes(r) }) {
		add("no Origins-Pattern and no Allowed-Origins of unattended-upgrades is that of a source of security updates")
	}
	return append(faults, u.packageFaults()...)
}

// aptInterval reads a time of apt's, as apt.systemd.daily does: days, unless it says
// otherwise; 0 is never.
func aptInterval(value string) (every time.Duration, known bool) {
	if value == "always" {
		return 0, true
	}
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	unit := 24 * time.Hour
	if len(value) > 0 && units[value[len(value)-1:]] != 0 {
		value, unit = value[:len(value)-1], units[value[len(value)-1:]]
	}
	n, err := strconv.ParseUint(value, 10, 16)
	return time.Duration(n) * unit, err == nil && n > 0
}

// timerFaults are of what is to start apt's work.
func (u updates) timerFaults(now time.Time) (faults []string) {
	if !u.systemd {
		if info, err := os.Stat("/etc/cron.daily/apt-compat"); err != nil || info.Mode().Perm()&0o111 == 0 {
			return []string{"there is neither systemd nor /etc/cron.daily/apt-compat to start it"}
		}
		return nil
	}
	for _, name := range aptUnits {
		unit, timer := u.units[name], strings.HasSuffix(name, ".timer")
		next, err := time.Parse("Mon 2006-01-02 15:04:05 MST", unit["NextElapseUSecRealtime"])
		switch {
		case unit["LoadState"] == "masked":
			faults = append(faults, name+" is masked")
		case unit["LoadState"] != "loaded":
			faults = append(faults, name+" is "+unit["LoadState"])
		case timer && (unit["ActiveState"] != "active" || unit["UnitFileState"] != "enabled"):
			faults = append(faults, fmt.Sprintf("%s is %s and %s", name, unit["ActiveState"], unit["UnitFileState"]))
		case timer && err == nil && next.Sub(now) > updatesEvery:
			faults = append(faults, fmt.Sprintf("%s comes no sooner than %s", name, next))
		case !timer && !strings.Contains(unit["ExecStart"], "/apt.systemd.daily "):
			faults = append(faults, name+" starts something else than apt.systemd.daily")
		}
	}
	return faults
}

// takes says whether unattended-upgrades installs from a release: its patterns are
// lists of KEY=GLOB that must all match (match_whitelist_string of unattended-upgrade).
// What the release doesn't say, since it was not fetched yet, matches.
func (u updates) takes(r release) bool {
	patterns := slices.Clone(u.settings[origins])
	for _, old := range u.settings[allowed] { // ORIGIN:SUITE
		origin, suite, found := strings.Cut(old, ":")
		if !found {
			origin, suite, _ = strings.Cut(old, " ")
		}
		patterns = append(patterns, "origin="+origin+",suite="+suite)
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		for token := range strings.SplitSeq(pattern, ",") {
			key, glob, _ := strings.Cut(token, "=")
			glob = strings.NewReplacer("${distro_id}", u.id, "${distro_codename}", u.name).Replace(strings.TrimSpace(glob))
			value := ""
			switch strings.TrimSpace(key) {
			case "o", "origin":
				value = r.origin
			case "l", "label":
				value = r.label
			case "a", "suite", "archive":
				value = r.suite
			case "n", "codename":
				value = r.codename
				if value == "" {
					value = r.name
				}
			case "c", "component":
				value = r.component
			case "site":
				value = r.site
			default:
				return false
			}
			if matches, err := path.Match(glob, value); err != nil || !matches && value != "" {
				return false
			}
		}
		return pattern != ""
	})
}

// weRunOn are packages whose flaws are ours: kernel, libraries, the ways in, the engine.
var weRunOn = regexp.MustCompile(`^(linux-image|linux-modules|openssh-|redis|valkey|redoubt|libc6|libc-bin|libssl|openssl|libsystemd|systemd|libpam|sudo|nftables|libnftables|libnftnl|libjemalloc|liblua|liblzf|libatomic|zlib1g|apt$|dpkg$|login$|passwd$|ca-certificates$)`)

// packageFaults are packages that we run on and that stay as they are.
func (u updates) packageFaults() (faults []string) {
	for key, names := range map[string]string{blacklist: "Package-Blacklist", whitelist: "Package-Whitelist"} {
		var forms []*regexp.Regexp
		for _, text := range u.settings[key] {
			form, err := regexp.Compile("^(?:" + text + ")") // Python's match begins at the beginning
			if err != nil {
				faults = append(faults, fmt.Sprintf("Unattended-Upgrade::%s has %q, which can't be judged here: %v", names, text, err))
				continue
			}
			forms = append(forms, form)
		}
		for name := range u.packages {
			listed := slices.ContainsFunc(forms, func(form *regexp.Regexp) bool { return form.MatchString(name) })
			if weRunOn.MatchString(name) && (key == blacklist && listed || key == whitelist && len(forms) > 0 && !listed) {
				faults = append(faults, fmt.Sprintf("Unattended-Upgrade::%s keeps %s as it is", names, name))
			}
		}
	}
	for name, want := range u.packages {
		if want == "hold" && weRunOn.MatchString(name) {
			faults = append(faults, name+" is on hold (apt-mark unhold "+name+")")
		}
	}
	slices.Sort(faults)
	return faults
}
