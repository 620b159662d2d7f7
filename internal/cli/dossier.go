package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

type dossierCmd struct {
	Write  dossierWriteCmd  `cmd:"" default:"withargs" help:"Write the documents (the default)."`
	Verify dossierVerifyCmd `cmd:"" help:"Say whether a dossier is as it was written, and who signed it."`
	Attest dossierAttestCmd `cmd:"" help:"Answer for the report of a host that has no certificate, such as an outsider."`
}

func (dossierCmd) Help() string {
	return `Writes the auditor's documents from what is true: the system and the way of its data, the six goals with what every host's report says of them, the risk register, decisions, controls, procedures, and the evidence with its hashes, signed. As a page that prints well (dossier.html), as Markdown, and as OSCAL 1.0.6 for tools.

A report counts if its host has signed it (redoubt verify --json does, as root), with a certificate that the CA's ledger knows and that was not revoked; if it holds every check of its version; and if it is not older than 31 days. Any other report ends the command with exit code 1 and nothing written. What a host without a certificate found proves nothing until somebody answers for it: redoubt dossier attest. Without --ca no signature can be looked at: the documents are written, say so, and are not signed.

Example:

  redoubt dossier --deployment deployment.yaml --policy gateway.yaml --evidence reports/ --owner "Security officer" --ca /etc/redoubt/ca --out dossier-2026-11
  redoubt dossier attest reports/outside.json --by "Jo Doe" --ca /etc/redoubt/ca
  redoubt dossier verify dossier-2026-11 --ca ca.crt`
}

type dossierWriteCmd struct {
	Deployment     string   `placeholder:"FILE" help:"deployment.yaml: which hosts there are. Without it: one machine, as redoubt up makes it."`
	Policy         string   `placeholder:"FILE" help:"gateway.yaml: what the application may do."`
	Evidence       []string `placeholder:"FILE" help:"Reports of redoubt verify (--json), one from each host; or directories of them."`
	Owner          string   `placeholder:"NAME" help:"Who answers for the risks."`
	CA             string   `name:"ca" placeholder:"DIR" help:"The deployment's CA (or the directory of redoubt up): its ledger says whose reports are true, and it signs the dossier. Without it nothing is proved, and the dossier says so."`
	PassphraseFile string   `placeholder:"FILE" help:"File with the passphrase of the CA's keys, if they have one. Without it a terminal is asked."`
	Out            string   `required:"" placeholder:"DIR" help:"Where it is written: a directory that is empty, or isn't there yet."`
}

func (dossierWriteCmd) Help() string { return dossierCmd{}.Help() }

func (c *dossierWriteCmd) Run(e *env) error {
	sources := dossier.Sources{Owner: c.Owner, Version: versionString(), Now: time.Now()}
	reports, err := readEvidence(c.Evidence)
	if err != nil {
		return fmt.Errorf("dossier: --evidence: %w", err)
	}
	sources.Evidence = reports
	switch {
	case c.Deployment != "":
		if sources.Hosts, err = loadDeployment(c.Deployment); err != nil {
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
	if c.CA != "" {
		if sources.CA, err = (caFlags{Dir: c.CA, PassphraseFile: c.PassphraseFile}).open(e); err != nil {
			return misconfigured(err)
		}
		if d := sources.CA.Deployment(); c.Deployment != "" && d != sources.Deployment {
			return misconfigured(fmt.Errorf("dossier: %s is the CA of deployment %s, not of %s", c.CA, d, sources.Deployment))
		}
		sources.Deployment = sources.CA.Deployment()
	}
	d, err := dossier.New(sources)
	if err != nil {
		return fmt.Errorf("dossier: %w", err)
	}
	if err := d.Write(c.Out); err != nil {
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
	CA  string `name:"ca" required:"" placeholder:"FILE" help:"ca.crt of the deployment, from a place that you trust: the one in the dossier proves nothing, since whoever wrote the dossier anew would have put his own there."`
}

func (dossierVerifyCmd) Help() string {
	return `Compares every file of a dossier with its manifest, the manifest with the signature of the deployment's CA, and each report with the signature of its host. The exit code is 1 if a byte was changed, a file is missing or was added, a signature is another's, or a report was no good evidence on the day the dossier was written.

Example:

  redoubt dossier verify dossier-2026-11 --ca ca.crt`
}

func (c *dossierVerifyCmd) Run(e *env) error {
	roots, err := pki.Read(c.CA)
	if err != nil {
		return misconfigured(fmt.Errorf("--ca: %w", err))
	}
	v, err := dossier.Examine(c.Dir, roots, versionString())
	if err != nil {
		return fmt.Errorf("dossier: %s is not good: %w", c.Dir, err)
	}
	signer := strings.TrimPrefix(pki.Describe(v.Signer, time.Now()).Subject, "CN=")
	fmt.Fprintf(e.stdout, "as it was written: %d files, of them reports: %d, signed by %s\n", v.Files, v.Reports, signer)
	return nil
}

type dossierAttestCmd struct {
	Report         string `arg:"" placeholder:"FILE" help:"The report: it is signed in its place."`
	By             string `required:"" placeholder:"NAME" help:"Who answers for it."`
	CA             string `name:"ca" required:"" placeholder:"DIR" help:"The deployment's CA."`
	PassphraseFile string `placeholder:"FILE" help:"File with the passphrase of the CA's keys, if they have one. Without it a terminal is asked."`
}

func (dossierAttestCmd) Help() string {
	return `Signs a report with the CA's key: NAME says that this is what redoubt verify found on that host, on this day. The dossier names NAME. Read the report before: nobody else vouches for it. It is for hosts that have no certificate of this CA; the others sign for themselves.

Example:

  redoubt dossier attest reports/outside.json --by "Jo Doe" --ca /etc/redoubt/ca`
}

func (c *dossierAttestCmd) Run(e *env) error {
	report, err := readReport(c.Report)
	if err != nil {
		return fmt.Errorf("dossier: %w", err)
	}
	ca, err := (caFlags{Dir: c.CA, PassphraseFile: c.PassphraseFile}).open(e)
	if err != nil {
		return misconfigured(err)
	}
	signed, err := dossier.Attest(report, ca, c.By, time.Now())
	if err != nil {
		return fmt.Errorf("dossier: %w", err)
	}
	text, err := signed.Encode()
	if err == nil {
		err = statedir.WriteFile(c.Report, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("dossier: %w", err)
	}
	fmt.Fprintf(e.stdout, "attested by %s: %s\n", c.By, c.Report)
	return nil
}
