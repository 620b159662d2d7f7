// Package dossier writes the auditor's documents from what is true: the deployment's
// hosts, its policy, and the reports of redoubt verify from each of them.
//
// New takes these together into a Dossier, the one model that all forms print: a page
// (HTML), the same as Markdown, and OSCAL for tools that read it. Write puts them into a
// directory with the evidence, a manifest of every file's SHA-256, and the signature of
// the deployment's CA over it; Examine finds out later whether a byte of it has changed,
// and whether its reports were good evidence on the day of writing.
//
// A report is evidence if its host has signed it (Sign), with a certificate that the CA's
// ledger knows, and it is whole, of this version and not old; or if a person answers for
// it (Attest). One that isn't what it says is an error; one that nobody answers for proves
// nothing.
//
// Nothing in it is invented: a sentence about the deployment is a Statement with the
// checks that carry it, and is said as they were found. A check holds if every host that
// it is about has passed it. It tells names, settings and counts; reports hold no secret.
//
// The tests forge reports in every way that we know, and break every check in turn to see
// each sentence that rests on it change.
package dossier
