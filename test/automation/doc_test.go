// Package automation_test sets two whole hosts up with each tool that we have something
// for, from one deployment file, and holds what they come to side by side with what a
// person does by hand: the same files to the byte, modes, units, packet filter, sshd,
// and findings of redoubt verify. Each tool runs twice; the second time changes nothing.
package automation_test
