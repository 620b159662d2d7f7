package pki

import (
	"os"
	"path/filepath"
)

// Lighten encrypts a CA's only key, be it encrypted or not, with an iteration instead of
// hundreds of thousands: for tests that open it often and aren't about what a guess of
// its passphrase costs. The file says itself how many it took.
func Lighten(dir, passphrase string) error {
	path := filepath.Join(dir, "ca.key")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	keys, err := openKeys(text, func() ([]byte, error) { return []byte(passphrase), nil })
	if err != nil {
		return err
	}
	light, err := sealKeyBy(1, keys[0].key, []byte(passphrase))
	if err != nil {
		return err
	}
	return os.WriteFile(path, light, 0o600)
}
