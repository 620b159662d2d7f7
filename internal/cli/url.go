package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// cacheURL is how an application is told of its cache: REDIS_URL, with the
// password in it. It is never printed.
type cacheURL struct{ url *url.URL }

// urlFlags say where REDIS_URL comes from; never from an argument, which every
// local user could read.
type urlFlags struct {
	Env string `placeholder:"FILE" help:"File with REDIS_URL (app.env). Default: the environment's REDIS_URL."`
}

const urlVariable = "REDIS_URL"

func (f urlFlags) read() (cacheURL, error) {
	text, from := os.Getenv(urlVariable), "the environment"
	if f.Env != "" {
		data, err := statedir.ReadSecret(f.Env)
		if err != nil {
			return cacheURL{}, fmt.Errorf("--env: %w", err)
		}
		from = f.Env
		text = ""
		for line := range strings.Lines(string(data)) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), urlVariable+"="); ok {
				text = value
			}
		}
	}
	if text == "" {
		return cacheURL{}, fmt.Errorf("%s has no %s: name the file that redoubt secret new or redoubt up wrote with --env", from, urlVariable)
	}
	u, err := url.Parse(text)
	if err != nil { // whose text would repeat the URL
		err = errors.New("it is no URL")
	} else if u.Scheme != "redis" || u.Hostname() == "" {
		err = errors.New("it is not of the form redis://:PASSWORD@HOST:PORT")
	}
	if err != nil {
		return cacheURL{}, fmt.Errorf("%s in %s: %w", urlVariable, from, err)
	}
	return cacheURL{u}, nil
}

func (c cacheURL) address() string {
	port := c.url.Port()
	if port == "" {
		port = "6379"
	}
	return net.JoinHostPort(c.url.Hostname(), port)
}

func (c cacheURL) password() string {
	password, _ := c.url.User.Password()
	return password
}

// at is the same cache at another address.
func (c cacheURL) at(address string) cacheURL {
	moved := *c.url
	moved.Host = address
	return cacheURL{&moved}
}

// variable is for an environment.
func (c cacheURL) variable() string { return urlVariable + "=" + c.url.String() }
