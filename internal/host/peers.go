package host

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Peers are the addresses from which connections to a TCP port of this host are open
// (proc_pid_net(5)), as far as the kernel tells.
func Peers(port int) (list []netip.Addr) {
	const established = "01"
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != established {
				continue
			}
			here, err := ParseAddress(fields[1])
			there, err2 := ParseAddress(fields[2])
			if err == nil && err2 == nil && int(here.Port()) == port {
				list = append(list, there.Addr())
			}
		}
	}
	return list
}

// ParseAddress reads an address as /proc/net has it: words of four bytes, each in the
// host's order, and the port.
func ParseAddress(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, portErr := strconv.ParseUint(port, 16, 16)
	if err = errors.Join(err, portErr); err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of /proc/net: %v", text, err)
	}
	for i := 0; i < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	address, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), nil
}
