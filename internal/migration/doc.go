// Package migration reads what a team has locked down by hand, Redis behind
// stunnel or Redis with TLS of its own, and plans the same cache as a deployment
// of Redoubt.
//
// "redoubt import" is its only caller: Stunnel and RedisTLS read the files and
// return a Plan, Plan.Write makes the files of it. A plan is what was found, line
// by line (Finding), the configuration files that follow from it, and the steps
// that are left to a person.
//
// What it guarantees:
//   - No line is passed over. A directive is in a table here (directives.go,
//     stunnel_options.go) with what becomes of it and why, or it is named as
//     unknown, with its file and line.
//   - Nothing that an application relies on ends silently, and nothing that was
//     closed opens silently: that is refused, and nothing is written until a
//     person has decided (docs/decisions/0106).
//   - Passwords and keys are in no Finding, no error and no printed file. They go
//     to files of mode 0600 (package secret).
//   - Reading is bounded: size and number of files, depth of includes. It starts
//     no program, opens no connection, and changes nothing of what it reads.
//   - Writing can be cut anywhere and run again; no file is overwritten.
//
// Its tests hold the tables against every setting of the real engines, read the
// configuration files that distributions ship, fuzz both parsers, and move a real
// stunnel deployment over (test/e2e).
package migration
