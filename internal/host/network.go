package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
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

// ipWithin bounds an answer of ip or tc.
const ipWithin = 10 * time.Second

// PacketPrograms are what interfaces of this network namespace hand their packets to
// before any packet filter sees them: XDP programs (ip-link(8)), filters of tc (tc(8)),
// and programs that the two don't list since they are attached by a link of their own
// (tcx); and what chooses the socket that a packet is for (sk_lookup).
func PacketPrograms(ctx context.Context) (list []string, err error) {
	text, err := ask(ctx, "ip", "-json", "link", "show")
	if err != nil {
		return nil, err
	}
	interfaces, list, err := parseLinks(text)
	if err != nil {
		return nil, err
	}
	for _, name := range interfaces {
		if text, err = ask(ctx, "tc", "-json", "filter", "show", "dev", name, "ingress"); err != nil {
			return nil, err
		}
		kinds, err := parseFilters(text)
		if err != nil {
			return nil, err
		}
		if len(kinds) > 0 {
			list = append(list, fmt.Sprintf("%s: tc, ingress: %s", name, strings.Join(kinds, ", ")))
		}
	}
	linked, err := linkedPrograms()
	return append(list, linked...), err
}

// parseLinks reads ip -json link show.
func parseLinks(text []byte) (interfaces, xdp []string, err error) {
	var links []struct {
		Name string          `json:"ifname"`
		XDP  json.RawMessage `json:"xdp"`
	}
	if err := json.Unmarshal(text, &links); err != nil {
		return nil, nil, fmt.Errorf("ip link: %w", err)
	}
	for _, l := range links {
		interfaces = append(interfaces, l.Name)
		if len(l.XDP) > 0 {
			xdp = append(xdp, l.Name+": an XDP program")
		}
	}
	return interfaces, xdp, nil
}

// parseFilters reads tc -json filter show, which names each kind once for its head and
// once for each filter.
func parseFilters(text []byte) (kinds []string, err error) {
	var filters []struct {
		Kind    string          `json:"kind"`
		Options json.RawMessage `json:"options"`
	}
	if len(text) == 0 {
		return nil, nil // the interface has gone
	}
	if err := json.Unmarshal(text, &filters); err != nil {
		return nil, fmt.Errorf("tc filter: %w", err)
	}
	for _, f := range filters {
		if len(f.Options) > 0 {
			kinds = append(kinds, f.Kind)
		}
	}
	return kinds, nil
}

func ask(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, ipWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(failed.Stderr)))
	}
	return out, err
}

// OldIptables are the tables of the old iptables that are loaded, with rules or without,
// which nft doesn't list.
func OldIptables() (tables []string) {
	for _, path := range []string{"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"} {
		names, _ := os.ReadFile(path) // a kernel without it
		tables = append(tables, strings.Fields(string(names))...)
	}
	return tables
}
