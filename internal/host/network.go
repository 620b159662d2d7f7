package host

import (
	"fmt"
	"os"
	"path/filepath"
)

// LoopbackFromOutside are the interfaces of this network namespace that take packets for
// 127.0.0.0/8 from outside (ip-sysctl, route_localnet; "all" counts for each), and how
// many were looked at. Those that are made later get what "default" has.
func LoopbackFromOutside() (open []string, looked int, err error) {
	const conf = "/proc/sys/net/ipv4/conf"
	interfaces, err := os.ReadDir(conf)
	if err != nil {
		return nil, 0, err
	}
	for _, i := range interfaces {
		if i.Name() == "lo" {
			continue // nothing comes from outside there
		}
		value, known, err := Setting(filepath.Join(conf, i.Name(), "route_localnet"))
		if err != nil {
			return nil, 0, err
		}
		if !known {
			continue // it has gone since
		}
		looked++
		if value != "0" {
			open = append(open, i.Name())
		}
	}
	if looked == 0 {
		return nil, 0, fmt.Errorf("%s has no interface", conf)
	}
	return open, looked, nil
}
