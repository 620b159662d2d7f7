package firewall

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestOthersThatChangeWhatArrivesAreSeen, as the real nft lists them.
func TestOthersThatChangeWhatArrivesAreSeen(t *testing.T) {
	const arriving = "type filter hook prerouting priority -400; policy accept;"
	for ruleset, want := range map[string]string{
		"table ip o { chain c { " + arriving + " ip saddr 10.0.0.66 ip saddr set 10.0.0.9; }; }":                                                                                    "disguises: table ip o, chain c: ip saddr 10.0.0.66 ip saddr set 10.0.0.9",
		"table inet o { chain a { " + arriving + " tcp dport 22 jump b; }; chain b { goto d; }; chain d { ip6 saddr set fd77::9; }; }":                                              "disguises: table inet o, chain d: ip6 saddr set fd77::9",
		"table inet o { chain a { " + arriving + " tcp dport vmap { 22 : jump b }; }; chain b { ip saddr set 10.0.0.9; }; }":                                                        "disguises: table inet o, chain b: ip saddr set 10.0.0.9",
		"table inet o { map m { type inet_service : verdict; elements = { 22 : jump b }; }; chain a { " + arriving + " tcp dport vmap @m; }; chain b { ip saddr set 10.0.0.9; }; }": "disguises: table inet o, chain b: ip saddr set 10.0.0.9",
		"table ip o { chain c { type nat hook input priority -100; snat to 10.0.0.9; }; }":                                                                                          "disguises: table ip o, chain c: snat to 10.0.0.9",
		"table ip o { chain c { type nat hook prerouting priority dstnat; tcp dport 80 dnat to 10.0.0.5:8080; }; }":                                                                 "diverts: table ip o, chain c: tcp dport 80 dnat to 10.0.0.5:8080",
		"table ip o { chain c { " + arriving + " notrack; }; }":                                                                                                                     "diverts: table ip o, chain c: notrack",
		// What leaves, what a chain does that nothing leads to, and sets of other things.
		"table ip o { chain c { type nat hook postrouting priority srcnat; masquerade; }; chain u { ip saddr set 10.0.0.9; }; chain m { " + arriving + " meta mark set 1 ip saddr 10.0.0.1 drop; }; }": "",
		"table inet redoubt { chain c { " + arriving + " ip saddr set 10.0.0.9; }; }":                                                                                                                  "", // RD-120's
	} {
		text, err := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", "nft -f - <<'EOF' && nft --stateless list ruleset\n"+ruleset+"\nEOF\n").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", ruleset, err, text)
		}
		var got []string
		for _, o := range parseOthers(string(text)) {
			kind := map[bool]string{true: "disguises", false: "diverts"}[o.Disguises]
			got = append(got, fmt.Sprintf("%s: %s: %s", kind, o.Where, o.Rule))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s\n%s\nis %q, want %q", ruleset, text, got, want)
		}
	}
}

// TestRulesOfEveryKindAreTold, as nft writes them: also those that not every kernel takes,
// and iptables' targets that it can't put in its own words.
func TestRulesOfEveryKindAreTold(t *testing.T) {
	for rule, want := range map[string]string{
		"tcp dport 22 queue to 0": "disguises", `ct helper set "ftp"`: "disguises", "@nh,96,32 set 0xa000009": "disguises", "masquerade": "disguises",
		"counter packets 0 bytes 0 # xt_CT": "disguises", `xt target "SNAT"`: "disguises",
		"tcp dport 80 redirect to :6379": "diverts", "meta l4proto tcp tproxy to :80": "diverts", "fwd to eth1": "disguises", `ether daddr set 00:00:00:00:00:00 fwd to "lo"`: "disguises", `dup to 10.0.0.9 device "lo"`: "disguises", `xt target "TEE"`: "disguises", "flow add @f": "diverts",
		"tcp dport set 22": "diverts", "ip daddr set 127.0.0.1": "diverts", `xt target "REDIRECT"`: "diverts",
		"ct mark set 0x1": "", "add @busy4 { ip saddr }": "", `ip saddr 10.0.0.1 drop comment "no"`: "", "meta mark set 1": "", `xt target "MARK"`: "",
	} {
		got := ""
		for _, o := range parseOthers("table ip o {\n\tchain c {\n\t\ttype filter hook prerouting priority -400; policy accept;\n\t\t" + rule + "\n\t}\n}\n") {
			got += map[bool]string{true: "disguises", false: "diverts"}[o.Disguises]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

// FuzzParseOthers: whatever is listed, it ends.
func FuzzParseOthers(f *testing.F) {
	f.Add("table ip o {\n\tchain c {\n\t\ttype filter hook input priority 0; policy accept;\n\t\tjump c\n\t\tip saddr set 1.2.3.4\n\t}\n}\n")
	f.Add("\t\tx\n\tchain\n}")
	f.Fuzz(func(t *testing.T, text string) { parseOthers(text) })
}
