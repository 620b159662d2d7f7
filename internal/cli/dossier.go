package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

type dossierCmd struct {
	Write  dossierWriteCmd  `cmd:"" default:"withargs" help:"Write the documents (the default)."`
	Verify dossierVerifyCmd `cmd:"" help:"Say whether a dossier is as it was written, and who signed it."`
}

func (dossierCmd) Help() string {
	return `Writes the auditor's documents from what is true: the system and the way of its data, the six goals with what every host's report says of them, the risk register, decisions, controls, procedures, and the evidence with its hashes, signed. As a page that prints well (dossier.html), as Markdown, and as OSCAL 1.0.6 for tools.

Example:

  redoubt dossier --deployment deployment.yaml --policy gateway.yaml --evidence reports/ --owner "Security officer" --ca /etc/redoubt/ca --out dossier-2026-11
  redoubt dossier verify dossier-2026-11 --ca ca.crt`
}

type dossierWriteCmd struct {
	Deployment     string   `placeholder:"FILE" help:"deployment.yaml: which hosts there are. Without it: one machine, as redoubt up makes it."`
	Policy         string   `placeholder:"FILE" help:"gateway.yaml: what the application may do."`
	Evidence       []string `placeholder:"FILE" help:"Reports of redoubt verify (--json), one from each host; or directories of them."`
	Owner          string   `placeholder:"NAME" help:"Who answers for the risks."`
	CA             string   `name:"ca" placeholder:"DIR" help:"The deployment's CA, which signs it (or the directory of redoubt up). Without it the dossier is not signed, and says so."`
	PassphraseFile string   `placeholder:"FILE" help:"File with the passphrase of the CA's keys, if they have one. Without it a terminal is asked."`
	Out            string   `required:"" placeholder:"DIR" help:"Where it is written: a directory that is empty, or isn't there yet."`
}

func (dossierWriteCmd) Help() string { return dossierCmd{}.Help() }

func (c *dossierWriteCmd) Run(e *env) error {
	sources := dossier.Sources{Owner: c.Owner, Version: versionString(), Now: time.Now()}
	reports, err := readEvidence(c.Evidence)
	if err != nil {
		return misconfigured(fmt.Errorf("--evidence: %w", err))
	}
	sources.Evidence = reports
	switch {
	case c.Deployment != "":
		if sources.Hosts, err = config.LoadDeployment(c.Deployment); err != nil {
			return misconfigured(err)
		}
		sources.Deployment = sources.Hosts.Deployment
	case len(reports) > 0:
		sources.Deployment = reports[0].Report.Deployment
	default:
		return usage(errors.New("dossier: nothing to write about: name the deployment's file, or reports"), "redoubt dossier --help")
	}
	if c.Policy != "" {
		g, err := config.LoadGateway(c.Policy)
		if err != nil {
			return misconfigured(err)
		}
		policy := engineOptions(g.Engine).Policy
		sources.Policy = &policy
	}
	d, err := dossier.New(sources)
	if err != nil {
		return misconfigured(fmt.Errorf("dossier: %w", err))
	}
	var ca *pki.CA
	if c.CA != "" {
		if ca, err = (caFlags{Dir: c.CA, PassphraseFile: c.PassphraseFile}).open(e); err != nil {
			return misconfigured(err)
		}
		if ca.Deployment() != sources.Deployment {
			return misconfigured(fmt.Errorf("dossier: %s is the CA of deployment %s, not of %s", c.CA, ca.Deployment(), sources.Deployment))
		}
	}
	if err := d.Write(c.Out, reports, ca); err != nil {
		return fmt.Errorf("dossier: %w", err)
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(e.stderr, "redoubt: dossier: %s\n", w)
	}
	fmt.Fprintf(e.stdout, "written: %s\n", filepath.Join(c.Out, dossier.Page))
	return nil
}

// readEvidence reads reports, and those of directories.
func readEvidence(paths []string) (list []dossier.Evidence, err error) {
	for _, path := range paths {
		files := []string{path}
		if within, err := filepath.Glob(filepath.Join(path, "*.json")); err == nil && len(within) > 0 {
			files = within
		}
		for _, file := range files {
			report, err := readReport(file)
			if err != nil {
				return nil, err
			}
			list = append(list, report)
		}
	}
	return list, nil
}

type dossierVerifyCmd struct {
	Dir string `arg:"" help:"The dossier's directory."`
	CA  string `name:"ca" placeholder:"FILE" help:"ca.crt of the deployment, from a place that you trust. Without it the roots in the dossier are taken, which shows only that it is of one piece."`
}

func (dossierVerifyCmd) Help() string {
	return `Compares every file of a dossier with its manifest, and the manifest with the signature of the deployment's CA. The exit code is 1 if a byte was changed, a file is missing or was added, or the signature is another's.

Example:

  redoubt dossier verify dossier-2026-11 --ca ca.crt`
}

func (c *dossierVerifyCmd) Run(e *env) error {
	var roots []*x509.Certificate
	if c.CA != "" {
		var err error
		if roots, err = pki.Read(c.CA); err != nil {
			return misconfigured(fmt.Errorf("--ca: %w", err))
		}
	}
	v, err := dossier.Examine(c.Dir, roots)
	if err != nil {
		return fmt.Errorf("dossier: %s is not as it was written: %w", c.Dir, err)
	}
	by := "not signed"
	if v.Signer != nil {
		by = fmt.Sprintf("signed by %s", strings.TrimPrefix(pki.Describe(v.Signer, time.Now()).Subject, "CN="))
		if c.CA == "" {
			by += ", a root that it brings along itself (--ca says which to believe)"
		}
	}
	fmt.Fprintf(e.stdout, "as it was written: %d files, %s\n", v.Files, by)
	return nil
}
