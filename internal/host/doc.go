// Package host reads what a host's kernel and sshd are set to, as far as it decides
// whether cached data could reach a disk, or a person the host.
//
// Everything is read where the kernel itself tells it (/proc, /sys, adjtimex) or as the
// program in question says that it understands its own files (sshd -T); nothing is
// changed. package verify judges.
package host
