//go:build slow

package sabotage_test

// further: all but each check's first sabotage are tried (make test-slow).
const further = true
