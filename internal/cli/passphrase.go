package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// caFlags are the flags of every subcommand that opens the CA.
type caFlags struct {
	Dir            string `required:"" placeholder:"DIR" help:"The CA's directory, or that of a deployment of redoubt up."`
	PassphraseFile string `placeholder:"FILE" help:"File with the passphrase of the CA's keys, or credential:NAME for a systemd credential. Without it the sealed one of this machine is taken (pki init --seal), or a terminal asked."`
}

// open opens the CA to sign with it.
func (f caFlags) open(e *env) (*pki.CA, error) {
	dir := caDir(f.Dir)
	unlock, err := unlockFrom(f.PassphraseFile)
	if err != nil {
		return nil, err
	}
	if unlock == nil {
		unlock = unlockSealed()
	}
	if unlock == nil && e.terminal() {
		unlock = once(func() ([]byte, error) { return e.ask("Passphrase of the CA in " + dir + ": ") })
	}
	ca, err := pki.Open(dir, unlock)
	if err == nil && ca.Locked() {
		return nil, usage(fmt.Errorf("the keys of the CA in %s are encrypted: say where their passphrase is with --passphrase-file", dir), "redoubt pki --help")
	}
	return ca, err
}

// caDir finds the CA in the directory of a deployment of "redoubt up", too.
func caDir(dir string) string {
	if inside := filepath.Join(dir, "ca"); exists(filepath.Join(inside, "ca.crt")) && !exists(filepath.Join(dir, "ca.crt")) {
		return inside
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// unlockFrom is nil without a file.
func unlockFrom(file string) (pki.Unlock, error) {
	if file == "" {
		return nil, nil
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	path, err := config.File(file).Resolve(here)
	if err != nil {
		return nil, fmt.Errorf("--passphrase-file %w", err)
	}
	return pki.PassphraseFile(path), nil
}

// once asks a person no second time in a run.
func once(ask pki.Unlock) pki.Unlock {
	var known []byte
	return func() (_ []byte, err error) {
		if known == nil {
			known, err = ask()
		}
		return known, err
	}
}

// terminal tells whether there is a person to be asked.
func (e *env) terminal() bool {
	f, ok := e.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask reads a line that the terminal doesn't show.
func (e *env) ask(prompt string) ([]byte, error) {
	fmt.Fprint(e.stderr, prompt)
	answer, err := term.ReadPassword(int(e.stdin.(*os.File).Fd()))
	fmt.Fprintln(e.stderr)
	return answer, err
}

// newPassphrase is what the CA's keys get: from a file, from a person, or none.
func newPassphrase(e *env, file string) ([]byte, error) {
	unlock, err := unlockFrom(file)
	if err != nil {
		return nil, err
	}
	if unlock != nil {
		return unlock()
	}
	if e.terminal() {
		passphrase, err := e.ask("Passphrase for the CA's key (empty: the key lies in plain): ")
		if err != nil {
			return nil, err
		}
		again := passphrase
		if len(passphrase) > 0 {
			if again, err = e.ask("Once more: "); err != nil {
				return nil, err
			}
		}
		if !bytes.Equal(passphrase, again) {
			return nil, errors.New("the two passphrases differ")
		}
		return passphrase, nil
	}
	return nil, nil
}
