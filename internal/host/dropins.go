package host

import "strings"

// Forwards are what ssh may be allowed to forward nevertheless, with sshd's keyword
// for it.
var Forwards = map[string]string{"tcp": "AllowTcpForwarding", "agent": "AllowAgentForwarding", "x11": "X11Forwarding"}

// SSHDropIn is what /etc/ssh/sshd_config.d/00-redoubt.conf says on every host: sshd
// takes the first value of a keyword (sshd_config(5)), so the name must come first.
// redoubt verify asks for the same, RD-121 to RD-124. allowed are names of Forwards.
func SSHDropIn(allowed ...string) string {
	text := sshDropIn
	for _, name := range allowed {
		text = strings.Replace(text, Forwards[name]+" no", Forwards[name]+" yes", 1)
	}
	return text
}

const sshDropIn = `# Redoubt: ssh for people, by key, and for nothing else. As /etc/ssh/sshd_config.d/00-redoubt.conf;
# sshd -t && systemctl reload ssh

# Keys only. Keep a session open until a new one has worked.
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no

# People log in as themselves.
PermitRootLogin no

# A forwarded port is a way past the packet filter.
AllowTcpForwarding no
AllowStreamLocalForwarding no
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
GatewayPorts no

# Nothing broken is offered, and whatever is new stays (NIST SP 800-131A).
Ciphers -*-cbc,arcfour*
MACs -hmac-md5*,hmac-sha1*,umac-64*
KexAlgorithms -*-sha1
HostKeyAlgorithms -ssh-dss*,ssh-rsa*
`

// SysctlDropIn is what /etc/sysctl.d/60-redoubt.conf says on every host. redoubt verify
// asks for the same, RD-442 and RD-445.
const SysctlDropIn = `# Redoubt: memory stays memory. As /etc/sysctl.d/60-redoubt.conf; sysctl --system

# Core dumps go nowhere: the application's would hold what the cache holds.
kernel.core_pattern = |/bin/false
fs.suid_dumpable = 0

# A process can't look into another one of the same user.
kernel.yama.ptrace_scope = 1
`
