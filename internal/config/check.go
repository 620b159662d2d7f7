package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

func (c *Gateway) check() []problem {
	problems := checkNames(c.Deployment, c.Name)
	problems = append(problems, checkAddress("listen", c.Listen)...)
	problems = append(problems, checkWorkloadAPI(c.TLS.WorkloadAPI)...)
	problems = append(problems, checkPeers("renew_from", c.RenewFrom)...)
	problems = append(problems, checkExceptions(c.Exceptions)...)
	if c.PKI.Dir != "" && len(c.RenewFrom) > 0 {
		problems = append(problems, problem{path: "renew_from", text: "is for gateways without a CA, and pki.dir names one: leave one of them out"})
	}
	if c.TLS.WorkloadAPI != "" && (c.PKI.Dir != "" || len(c.RenewFrom) > 0) {
		problems = append(problems, problem{path: "tls.workload_api", text: "brings the certificates of another CA: leave pki.dir and renew_from out"})
	}
	return append(problems, checkSizes(c.Engine.Memory, c.Engine.MaxValue)...)
}

func checkSizes(memory, maxValue Size) []problem {
	if maxValue > memory {
		return []problem{{path: "engine.memory", text: fmt.Sprintf("is %s, in which a largest value of %s (engine.max_value, 512mb unless it is set) has no room: set engine.max_value to %s or less, or more memory", memory, maxValue, memory)}}
	}
	return nil
}

func (c *Gateway) resolve(dir string) []problem {
	problems := append(resolveTLS(&c.TLS, dir), resolveAdmin(&c.Admin, dir)...)
	problems = append(problems, resolveOptional("pki.dir", &c.PKI.Dir, dir)...)
	problems = append(problems, resolveOptional("pki.passphrase", &c.PKI.Passphrase, dir)...)
	return append(problems, resolveFile("engine.password_digests", &c.Engine.PasswordDigests, dir)...)
}

func (c *Sidecar) check() []problem {
	problems := checkNames(c.Deployment, c.Name)
	problems = append(problems, checkAddress("listen", c.Listen)...)
	problems = append(problems, checkWorkloadAPI(c.TLS.WorkloadAPI)...)
	if c.Fence != "batch" && c.Fence != "session" {
		problems = append(problems, problem{path: "fence", text: "must be batch or session"})
	}
	if len(c.Gateways) == 0 {
		problems = append(problems, problem{path: "gateways", text: "is missing: name at least one gateway ({name: cache-1, address: HOST:PORT})"})
	}
	problems = append(problems, checkPeers("gateways", c.Gateways)...)
	problems = append(problems, checkExceptions(c.Exceptions)...)
	problems = append(problems, checkUIDs("allow_uids", c.AllowUIDs)...)
	return append(problems, checkUIDs("unix.allow_uids", c.Unix.AllowUIDs)...)
}

func (c *Sidecar) resolve(dir string) []problem {
	if c.Unix.Path != "" && !filepath.IsAbs(c.Unix.Path) {
		c.Unix.Path = filepath.Join(dir, c.Unix.Path)
	}
	problems := append(resolveTLS(&c.TLS, dir), resolveAdmin(&c.Admin, dir)...)
	return append(problems, checkSocket("unix.path", c.Unix.Path)...)
}

func checkNames(deployment, name string) (problems []problem) {
	problems = append(problems, checkDeploymentName("deployment", deployment)...)
	return append(problems, checkName("name", name)...)
}

// checkName says what is wrong with a host's name. The path says what it is a name of.
func checkName(path, name string) []problem {
	return unlessNil(path, "name ", identity.ValidName(name))
}

func checkDeploymentName(path, name string) []problem {
	return unlessNil(path, "deployment ", identity.ValidDeployment(name))
}

func unlessNil(path, what string, err error) []problem {
	if err == nil {
		return nil
	}
	return []problem{{path: path, text: strings.TrimPrefix(err.Error(), what)}}
}

func checkPeers(path string, peers []Peer) (problems []problem) {
	for i, g := range peers {
		at := fmt.Sprintf("%s[%d]", path, i)
		problems = append(problems, checkName(at+".name", g.Name)...)
		problems = append(problems, checkAddress(at+".address", g.Address)...)
	}
	return problems
}

// checkExceptions leaves it to package verify which checks there are.
func checkExceptions(exceptions []Exception) (problems []problem) {
	for i, e := range exceptions {
		at := fmt.Sprintf("exceptions[%d].", i)
		for _, f := range []struct{ key, value string }{{"check", e.Check}, {"owner", e.Owner}, {"reason", e.Reason}, {"until", e.Until}} {
			if strings.TrimSpace(f.value) == "" {
				problems = append(problems, problem{path: at + f.key, text: "is missing: an accepted risk has a check, an owner, a reason and an end"})
			}
		}
		if _, err := time.Parse(time.DateOnly, e.Until); e.Until != "" && err != nil {
			problems = append(problems, problem{path: at + "until", text: fmt.Sprintf("is %q, which is no date such as 2027-03-31", e.Until)})
		}
	}
	return problems
}

func checkAddress(path, address string) []problem {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return []problem{{path: path, text: fmt.Sprintf("%q is not HOST:PORT", address)}}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return []problem{{path: path, text: fmt.Sprintf("%q has no port between 0 and 65535", address)}}
	}
	return nil
}

func checkUIDs(path string, uids []int) (problems []problem) {
	for i, uid := range uids {
		if uid < 0 || uid > 1<<32-2 {
			problems = append(problems, problem{path: fmt.Sprintf("%s[%d]", path, i), text: fmt.Sprintf("%d is not a user id", uid)})
		}
	}
	return problems
}

func resolveAdmin(a *Admin, dir string) (problems []problem) {
	if a.Socket != "" {
		problems = resolveFile("admin.socket", &a.Socket, dir)
		problems = append(problems, checkSocket("admin.socket", string(a.Socket))...)
	}
	if a.Metrics != "" {
		problems = append(problems, checkAddress("admin.metrics", a.Metrics)...)
	}
	return problems
}

// checkSocket says whether the kernel takes a socket's path (unix(7)).
func checkSocket(path, socket string) []problem {
	const most = 107
	if len(socket) > most {
		return []problem{{path: path, text: fmt.Sprintf("is %d bytes long, and a unix socket's path has at most %d: name a shorter one", len(socket), most)}}
	}
	return nil
}

// checkWorkloadAPI lets a unix socket pass: over TCP neither end could know the
// other.
func checkWorkloadAPI(address string) []problem {
	if path, ok := strings.CutPrefix(address, "unix://"); address != "" && (!ok || !filepath.IsAbs(path)) {
		return []problem{{path: "tls.workload_api", text: fmt.Sprintf("is %q, which is not of the form unix:///PATH", address)}}
	}
	return nil
}

func resolveTLS(t *TLS, dir string) []problem {
	problems := resolveFile("tls.certificate", &t.Certificate, dir)
	problems = append(problems, resolveOptional("tls.key", &t.Key, dir)...)
	problems = append(problems, resolveOptional("tls.crl", &t.CRL, dir)...)
	return append(problems, resolveFile("tls.ca", &t.CA, dir)...)
}

func resolveOptional(path string, f *File, dir string) []problem {
	if *f == "" {
		return nil
	}
	return resolveFile(path, f, dir)
}

func resolveFile(path string, f *File, dir string) []problem {
	resolved, err := f.Resolve(dir)
	if err != nil {
		return []problem{{path: path, text: err.Error()}}
	}
	*f = File(resolved)
	return nil
}
