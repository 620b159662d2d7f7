// Package bench measures what a tunnel costs on the machine it runs on: Redoubt
// beside a plain engine, and beside other ways to encrypt that are installed.
//
// "redoubt bench" calls Run, with loads out of Loads, and prints the Report as
// a table (WriteTable), as Markdown (WriteMarkdown), as JSON (the Report's own
// tags) or as a page (WritePage).
//
// How it measures:
//   - Peers are real processes on loopback ports of their own, started once and
//     stopped at the end: peers.go lists them. One that isn't installed is in
//     the report as absent, with the reason.
//   - Runs alternate: plain, candidate, plain, candidate. A ratio is that of a
//     candidate to the plain run just before it; what is reported is the median
//     of the rounds, with the lowest and the highest. So a machine that is slow
//     for a while is slow for both. Plain's own rates are the alarm: where they
//     differ between rounds, something else was running; and what other
//     processes had of the cores during each run is counted (foreign.go).
//   - The load comes from one thread over epoll that allocates nothing while it
//     runs, since it shares the cores with what it measures (generator.go).
//     Every byte of every reply is compared with what it must be.
//   - In a closed loop each connection sends when its last reply has come. In
//     an open loop requests are due at fixed times, and latency counts from
//     when a request was due, not from when it could be sent: a peer that
//     stalls is charged with all who waited (coordinated omission).
//
// It guarantees that Run returns with every process stopped and its directory
// removed, whatever happened, and that children die with this process even if
// it is killed. No password is ever an argument: engines get theirs on standard
// input, others by files of mode 0600. The only data is its own filler.
//
// It needs Linux; elsewhere measuring says so. The tests run every peer that is
// installed, servers that stall, refuse and die, and hold the page and tables
// against golden files.
package bench
