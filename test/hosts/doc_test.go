// Package hosts_test has whole hosts: Debian with systemd, sshd and a packet filter, on
// networks of their own. What a person would do on them is done here, what an attacker
// or an accident would do too, and the hosts are asked what became of it.
package hosts_test
