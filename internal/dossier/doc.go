// Package dossier writes the auditor's documents from what is true: the deployment's
// hosts, its policy, and the reports of redoubt verify from each of them.
//
// New takes these together into a Dossier, the one model that all forms print: a page
// (HTML), the same as Markdown, and OSCAL for tools that read it. Write puts them into a
// directory with the evidence, a manifest of every file's SHA-256, and the signature of
// the deployment's CA over it; Examine finds out later whether a byte of it has changed.
//
// Nothing in it is invented: what no report shows is said to be without evidence, a
// failing check raises the risks that rely on it, and a report of another deployment is
// refused. It tells names, settings and counts; reports hold no secret.
package dossier
