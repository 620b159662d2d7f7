package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

type secretCmd struct {
	New secretNewCmd `cmd:"" help:"Make the application's password: a file for the application, a digest for the gateway."`
}

type secretNewCmd struct {
	Out     string `required:"" placeholder:"DIR" help:"Where the files go; made (0700) if missing."`
	Address string `default:"127.0.0.1:6379" placeholder:"HOST:PORT" help:"Where the application finds the sidecar, for REDIS_URL (${default})."`
}

func (secretNewCmd) Help() string {
	return `Writes two files, and prints no secret:

  app.env          REDIS_URL with the password, mode 0600: for application hosts
  password.sha256  its digest: for the gateway (engine.password_digests)

The password has 256 random bits. Example:

  redoubt secret new --out /root/clinic`
}

func (c *secretNewCmd) Run(e *env) error {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return usage(fmt.Errorf("--address %q is not HOST:PORT", c.Address), "redoubt secret new --help")
	}
	appEnv, digestFile := filepath.Join(c.Out, "app.env"), filepath.Join(c.Out, "password.sha256")
	for _, path := range []string{appEnv, digestFile} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is already there: a password in use is not overwritten (choose another --out, or remove it)", path)
		}
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	password := statedir.NewPassword()
	digest := sha256.Sum256([]byte(password))
	if err := statedir.WriteFile(appEnv, []byte("REDIS_URL=redis://:"+password+"@"+c.Address+"\n"), 0o600); err != nil {
		return err
	}
	if err := statedir.WriteFile(digestFile, []byte(hex.EncodeToString(digest[:])+"\n"), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s\n%s\n", appEnv, digestFile)
	return nil
}
