// Package part runs a part of this program as a process of its own, confined by the
// kernel before its first instruction (sandbox.Part): one that strangers talk to, or
// one that holds a key. A flaw in one of them then has what that process has, and no
// more.
//
// # How a part is made
//
// Its work is a func() int that main hands to sandbox.Main as a Role:
//
//	sandbox.Main(sandbox.Role{Name: "front", Run: front.Main})
//
// Whoever owns it starts it with Start, and hands it what it needs as open files: the
// part finds the first at sandbox.FirstFile. It has no argument, no environment worth
// the name, no directory, and can neither make nor connect a socket, nor open a file
// that sandbox.Part doesn't name. What it is to do comes over those files.
//
//	uid, gid, err := sandbox.UserOf("redoubt-front")
//	p, err := part.Start(sandbox.Part{Name: "front", UID: uid, GID: gid, Isolate: true}, log, socket)
//	<-p.Done()
//	err = p.End()
//
// In the part, Log gives the logger whose lines come out in the owner's log, with the
// part's name.
//
// # What it guarantees
//
//   - The part ends with its owner, whatever becomes of that: the thread that started
//     it is held for as long as it lives (PR_SET_PDEATHSIG, prctl(2)).
//   - What it says is bounded: so many bytes a line, so many lines a second. What is
//     left out is counted, and that is said. It can't end a line of the log, or begin
//     one of another name.
//   - Kill waits for its end.
//
// Its owner decides what its end means, and whether there is another; nothing here
// starts one again.
//
// # How it is tested
//
// With a real part: this package's test binary, confined, that says what it is told to.
package part
