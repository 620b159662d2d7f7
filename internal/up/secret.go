package up

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-cache/redoubt/internal/secret"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

func secretFiles(dir *statedir.Dir) secret.Files {
	return secret.Files{Digests: dir.Digests(), AppEnv: dir.AppEnv(), Password: dir.Password(), Private: true}
}

// Secret visits the files of a deployment's password, whether it runs or not,
// until release is called.
func Secret(path string) (files secret.Files, running bool, release func() error, err error) {
	dir, running, err := statedir.Visit(path)
	if err != nil {
		return secret.Files{}, false, nil, err
	}
	return secretFiles(dir), running, dir.Close, nil
}

// takenWithin bounds the wait for a running deployment to take a new password:
// it looks each second.
const takenWithin = 10 * time.Second

// Taken waits until the deployment that app.env leads to takes a new password.
func Taken(ctx context.Context, files secret.Files, password string) error {
	sidecar, err := files.Sidecar()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, takenWithin)
	defer cancel()
	if err := Await(ctx, sidecar, password); err != nil {
		return fmt.Errorf("the running deployment did not take the new password within %s, and the application keeps the one it has (its log says why): %w", takenWithin, err)
	}
	return nil
}
