// Package units has what a host's systemd needs to run a role: the service with its
// sandbox, the socket on which systemd may listen for a sidecar, and the users.
//
// The texts lie beside this file as they are installed, so that a reviewer reads
// directives and reasons in one place; only the program's path may be another one.
// Redoubt render systemd prints them, packages place them. The sandbox is the tightest
// that the role was seen to work in (docs/systemd.md). Nothing here reads or changes a
// host.
//
// Its tests hold the texts against systemd-analyze; test/hosts boots hosts with them.
package units

import (
	"embed"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// A File is one of a role's; Path is below /etc, or /usr/lib in a package.
type File struct{ Path, Text string }

//go:embed *.service *.socket *.conf
var texts embed.FS

// Program is where the units find redoubt.
const Program = "/usr/bin/redoubt"

// CAPassphrase is the credential that the gateway's service finds the passphrase of the
// CA's keys in, if there is one.
const CAPassphrase = "redoubt-ca-passphrase"

// SidecarSocket is the unit that holds the application's port.
const SidecarSocket = "redoubt-sidecar.socket"

// Sidecar is the user that the sidecar's service runs as.
const Sidecar = "redoubt-sidecar"

// Files are those of a role, for a program that lies elsewhere if need be.
func Files(role identity.Role, program string) []File {
	gateway := []string{
		"systemd/system/redoubt-gateway.service",
		"sysusers.d/redoubt-gateway.conf",
	}
	sidecar := []string{
		"systemd/system/redoubt-sidecar.service",
		"systemd/system/redoubt-sidecar.socket",
		"sysusers.d/redoubt-sidecar.conf",
	}
	paths := gateway
	if role == identity.App {
		paths = sidecar
	}
	var files []File
	for _, path := range paths {
		text, err := texts.ReadFile(path[strings.LastIndexByte(path, '/')+1:])
		if err != nil {
			panic(err) // it is in the binary, or the binary wasn't built
		}
		files = append(files, File{path, strings.ReplaceAll(string(text), Program, program)})
	}
	return files
}
