package host

import (
	"fmt"
	"testing"
)

// As ip and tc of Debian 12 print it.
const (
	links   = `[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"mtu":65536},{"ifindex":2,"ifname":"eth0","mtu":1500,"xdp":{"mode":2,"prog":{"id":17,"tag":"57cd311f2e27366b","jited":1}}}]`
	filters = `[{"protocol":"all","pref":49152,"kind":"bpf","chain":0},{"protocol":"all","pref":49152,"kind":"bpf","chain":0,"options":{"handle":"0x1","direct-action":true}}]`
)

func TestProgramsOnInterfacesAreSeen(t *testing.T) {
	interfaces, xdp, err := parseLinks([]byte(links))
	if err != nil || fmt.Sprint(interfaces, xdp) != "[lo eth0] [eth0: an XDP program]" {
		t.Errorf("%v %v %v", interfaces, xdp, err)
	}
	for text, want := range map[string]string{filters: "[bpf]", "[]": "[]", "": "[]"} {
		if kinds, err := parseFilters([]byte(text)); err != nil || fmt.Sprint(kinds) != want {
			t.Errorf("%s: %v %v", text, kinds, err)
		}
	}
}

// FuzzPrograms: whatever ip and tc print is read or refused.
func FuzzPrograms(f *testing.F) {
	f.Add([]byte(links))
	f.Add([]byte(filters))
	f.Fuzz(func(t *testing.T, text []byte) {
		parseLinks(text)
		parseFilters(text)
	})
}
