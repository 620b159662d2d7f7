// Package lockdown makes a host what the deployment asks of it, and back again.
//
// Look compares: the files that are to lie there, the kernel's settings, the packet
// filter in force. Apply makes the difference go away, Undo puts back what the first
// Apply found, and both can be killed at any moment and started again: what was there
// is written down (record.json) before anything is changed.
//
// A packet filter or an sshd that is set wrong locks people out. So what Apply changes
// of these two goes back by itself unless Confirm comes in time: at the deadline by a
// timer that Apply sets, or at the next start of the host, whichever is first. The packet filter and sshd are replaced as a whole, or not at all.
//
// What others do takes the packet filter away without a word (nftables.service, nft flush
// ruleset). Keep, a service of its own, loads it again, and says how it stands to
// whoever asks LookKept. Boot loads it as the host starts, or closes the host.
//
// The tests are whole hosts, with systemd, sshd and people who log in (test/hosts).
package lockdown
