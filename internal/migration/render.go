package migration

import (
	"fmt"
	"net/netip"
	"strings"
)

// The configuration files. What stands in them is names, addresses and numbers
// that were checked; names are quoted, since YAML takes some for something else.

const head = "# Written by redoubt import; docs/configuration.md has every key.\n"

func (b *builder) deploymentFile() string {
	var t strings.Builder
	fmt.Fprintf(&t, "%sdeployment: %q\n", head, b.options.Deployment)
	if b.address.IsValid() {
		fmt.Fprintf(&t, "gateways:\n  - {name: %q, address: %q, port: %d}\n", b.options.Name, b.address, b.listen.port)
	} else {
		fmt.Fprintf(&t, "# The cache host's address stands in none of the files: fill it in.\n# gateways:\n#   - {name: %q, address: , port: %d}\n", b.options.Name, b.listen.port)
	}
	if len(b.apps) == 0 {
		t.WriteString("# The application hosts stand in none of the files: fill them in (address, or network of a group).\n# apps:\n")
		fmt.Fprintf(&t, "#   - {name: %q, address: }\n", b.options.ClientName)
	} else {
		t.WriteString("apps:\n")
	}
	for _, a := range b.apps {
		key, value := "network", a.prefix.String()
		if a.prefix.IsSingleIP() {
			key, value = "address", a.prefix.Addr().String()
		}
		fmt.Fprintf(&t, "  - {name: %q, %s: %q}\n", a.name, key, value)
	}
	if len(b.ssh) == 0 {
		t.WriteString("# Where ssh may come from stands in none of the files: fill it in.\n# bastions: []\n")
	} else {
		fmt.Fprintf(&t, "bastions: %s\n", prefixes(b.ssh))
	}
	return t.String()
}

func prefixes(list []netip.Prefix) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = fmt.Sprintf("%q", p)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func (b *builder) gatewayFile() string {
	p := b.server.policy
	var t strings.Builder
	fmt.Fprintf(&t, "%sdeployment: %q\nname: %q\nlisten: %q\n", head, b.options.Deployment, b.options.Name, b.listen)
	if len(b.apps) > 0 {
		var from []netip.Prefix
		for _, a := range b.apps {
			from = append(from, a.prefix)
		}
		if b.address.IsValid() { // redoubt verify attacks the port from this host too
			from = append(from, netip.PrefixFrom(b.address, b.address.BitLen()))
		}
		fmt.Fprintf(&t, "admit: %s\n", prefixes(from))
	}
	t.WriteString("pki: {dir: ca}\ntls: {certificate: tls/tls.pem, ca: tls/ca.crt}\nengine:\n  password_digests: password.sha256\n")
	fmt.Fprintf(&t, "  uses: %s\n", usesList(p.Uses))
	if len(p.Allow) > 0 {
		fmt.Fprintf(&t, "  allow: [%s]\n", strings.Join(p.Allow, ", "))
	}
	if len(p.Deny) > 0 {
		fmt.Fprintf(&t, "  deny: [%s]\n", strings.Join(p.Deny, ", "))
	}
	fmt.Fprintf(&t, "  memory: %s\n  max_value: %s\n", size(p.Memory), size(p.MaxValue))
	if p.MaxClients != 0 {
		fmt.Fprintf(&t, "  max_clients: %d\n", p.MaxClients)
	}
	return t.String()
}

func (b *builder) sidecarFile(at endpoint) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%sdeployment: %q\nname: %q\n", head, b.options.Deployment, b.options.ClientName)
	if at.path != "" {
		fmt.Fprintf(&t, "unix: {path: %q}\n", at.path)
	} else {
		fmt.Fprintf(&t, "listen: %q\n", at)
	}
	fmt.Fprintf(&t, "gateways:\n  - {name: %q, address: %q}\n", b.options.Name, b.gatewayAddress())
	t.WriteString("tls: {certificate: tls/tls.pem, ca: tls/ca.crt}\n")
	return t.String()
}
