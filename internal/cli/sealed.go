package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/units"
)

// The passphrase of this machine's CA, sealed: a systemd credential, encrypted with the
// machine's TPM or its host key. systemd finds it there by its name
// (systemd.exec(5), LoadCredentialEncrypted=), and so do commands that sign.
const (
	sealedName = units.CAPassphrase
	sealedFile = "/etc/credstore.encrypted/" + sealedName
)

// unlockSealed is nil where no passphrase is sealed: no CA was made so, or it is
// another machine's.
func unlockSealed() pki.Unlock {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && exists(filepath.Join(dir, sealedName)) {
		return pki.PassphraseFile(filepath.Join(dir, sealedName))
	}
	if !exists(sealedFile) {
		return nil
	}
	return func() ([]byte, error) {
		passphrase, err := systemdCreds(nil, "decrypt", "--name="+sealedName, sealedFile, "-")
		if err != nil {
			return nil, fmt.Errorf("%s: %w (it opens on the machine that made it only; elsewhere give the passphrase with --passphrase-file)", sealedFile, err)
		}
		return bytes.TrimSpace(passphrase), nil
	}
}

// sealedPassphrase is the machine's, made and sealed if there is none. One that is there
// is taken: another CA may need it, or a run before this was cut.
func sealedPassphrase() ([]byte, error) {
	if exists(sealedFile) {
		return unlockSealed()()
	}
	random := make([]byte, 33)
	rand.Read(random)
	passphrase := []byte(base64.StdEncoding.EncodeToString(random))
	sealed, err := systemdCreds(passphrase, "encrypt", "--name="+sealedName, "-", "-")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(sealedFile), 0o700); err != nil {
		return nil, err
	}
	return passphrase, statedir.WriteFile(sealedFile, sealed, 0o600)
}

// systemdCreds runs it; what is secret goes in and out by pipes.
func systemdCreds(stdin []byte, args ...string) ([]byte, error) {
	path, err := exec.LookPath("systemd-creds")
	if err != nil {
		return nil, coded{errors.New("no systemd-creds here, which seals a passphrase for this machine (systemd 250 or later): make the CA with --passphrase-file instead, and name that file in gateway.yaml under pki.passphrase"), exitEnvironment}
	}
	var said bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &said
	out, err := cmd.Output()
	if err != nil {
		return nil, coded{fmt.Errorf("systemd-creds %s: %w: %s", args[0], err, bytes.TrimSpace(said.Bytes())), exitEnvironment}
	}
	return out, nil
}
