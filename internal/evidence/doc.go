// Package evidence is what Redoubt can say for itself: the six goals, the
// sources that ask for them, and the report of a verification.
//
// "redoubt verify" (package verify) makes a Report, one Result for each check;
// package dossier puts the reports of all hosts into the auditor's documents; a
// pipeline reads the JSON. These are values: nothing here looks at a system.
//
// The JSON is a contract (schema.json beside this file, and the tests that hold a
// report against it): fields are added, never renamed, and an outcome is pass,
// fail or skip. A reader refuses what doesn't add up, such as a summary that
// differs from its results, so that a report cut short by a full disk or an editor
// doesn't count as evidence. Who answers for it, its Signature says; package dossier
// makes and checks that.
package evidence
