// Package verify proves the six goals on the live system, by attacking it.
//
// A Check is a value: what is claimed, why it matters, where it can be seen from,
// what it needs, and how it is tried. They stand in files by goal (g1_*.go to
// g6_*.go) and in one slice, Checks, in the order of a report. To add one, write
// it as the others are, put it in that slice, and write its sabotage (test/sabotage:
// break exactly that, see exactly that check fail).
//
// Run goes through them. It owns the deadline and turns a panic into a failure, a
// need that isn't met into a skip that says so, and a pass without evidence into a
// failure. A check reads back and attempts; it writes only keys that begin with
// engine.GuestPrefix, and where the CA lies two certificates that live for minutes,
// under names of their own: it may run on a cache that serves.
//
// A Target is the deployment as it is seen from here. Package cli makes it, from the
// files and the running processes; the processes themselves run the cheap checks
// on themselves each 15 seconds (Check.Cheap).
//
// What a check reports is read by auditors and lies in files: never a cached value, a
// password, a key or a certificate's private part.
package verify
