// Package script is what the Go client programs share: the runner that
// turns behaviours into the lines that TestClients reads, the environment that
// it sets, and a few claims. Each program is a table from a behaviour's name
// to a function in its library's own idiom.
package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"
)

// Limit is the longest that a behaviour may take.
const Limit = time.Minute

// Table maps a behaviour's name to what carries it out.
type Table map[string]func(context.Context) error

// Run carries out the named behaviours in order and writes a line for each.
// It returns the program's exit code.
func Run(out io.Writer, table Table, names []string) int {
	code := 0
	for _, name := range names {
		if err := one(table, name); err != nil {
			code = 1
			fmt.Fprintf(out, "FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Fprintf(out, "ok %s\n", name)
	}
	return code
}

func one(table Table, name string) error {
	do, ok := table[name]
	if !ok {
		return errors.New("this client has no such behaviour")
	}
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	return do(ctx)
}

// Address is the deployment that the application finds in its environment.
func Address() string { return os.Getenv("REDIS_URL") }

// AddressWithWrongPassword is the same deployment for somebody who guesses.
func AddressWithWrongPassword() (string, error) {
	u, err := url.Parse(Address())
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword("", "not-the-password")
	return u.String(), nil
}

// Key puts the run's prefix before a name, so runs don't meet in one cache.
func Key(name string) string { return os.Getenv("PREFIX") + ":" + name }

// EveryByte holds each byte once; Megabyte holds it 4096 times.
func EveryByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// Megabyte is a value of 1 MiB.
func Megabyte() []byte { return bytes.Repeat(EveryByte(), 4096) }

// Equal fails unless both are deeply equal.
func Equal(got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("got %.200v, want %.200v", got, want)
}

// Refused fails unless err is the server's own refusal of the command.
func Refused(command string, err error) error {
	if err != nil && (strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), "unknown command")) {
		return nil
	}
	return fmt.Errorf("%s was not refused: %v", command, err)
}

// Until asks again until the answer is yes, an error, or too late.
func Until(ctx context.Context, ask func() (bool, error)) error {
	for {
		if yes, err := ask(); err != nil || yes {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
