package host

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestPeersAreThoseOfThePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if got := Peers(port); len(got) != 0 {
		t.Fatalf("before anybody came: %v", got)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := Peers(port); !slices.Contains(got, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("%v", got)
	}
}

// FuzzParseAddress: an address of /proc/net is read or refused.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"0100007F:18EB", "00000000000000000000000001000000:0016", ":", "00:0", "zz:11"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { ParseAddress(text) })
}
