//go:build !slow

package sabotage_test

// further: each check's first sabotage is tried (make test), not the others.
const further = false
