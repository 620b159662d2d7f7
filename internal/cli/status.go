package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/explain"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// facts are what a process of ours tells, through its admin socket. The roles
// that it doesn't have are left out.
type facts struct {
	Build        buildFacts           `json:"build"`
	Role         string               `json:"role"`
	PID          int                  `json:"pid"`
	File         string               `json:"file,omitempty"`          // its configuration's
	Fingerprint  string               `json:"configuration,omitempty"` // of what of it is in force (fingerprint)
	Started      time.Time            `json:"started" metric:"redoubt_start_time_seconds" help:"When the process started."`
	Certificates []certificateFact    `json:"certificates"`
	Engine       *engine.Status       `json:"engine,omitempty"`
	Signer       *enroll.SignerStatus `json:"signer,omitempty"`
	Gateway      *gateway.Status      `json:"gateway,omitempty"`
	Front        *front.Status        `json:"front,omitempty"`
	Sidecar      *sidecar.Status      `json:"sidecar,omitempty"`
	Serving      *sidecar.Serving     `json:"serving,omitempty"`
	Checks       *checkFacts          `json:"checks,omitempty"`
}

type buildFacts struct {
	Version string `json:"version" label:"version"`
	FIPS140 string `json:"fips140" label:"fips140"`
	Info    int    `json:"-" metric:"redoubt_build_info" help:"1; the labels say what this is."`
}

type certificateFact struct {
	Identity string    `json:"identity" label:"identity"`
	Until    time.Time `json:"until" metric:"redoubt_certificate_expiry_timestamp_seconds" help:"When the certificate of this host ends; it is renewed long before."`
	Revoked  bool      `json:"revoked" metric:"redoubt_certificate_revoked" help:"1 if the certificate of this host is revoked: no peer takes it."`
	Overdue  bool      `json:"revocation_list_overdue" metric:"redoubt_revocation_list_overdue" help:"1 if a list of revoked certificates has ended (nextUpdate) and no newer one came."`
}

// reporter makes the reports of one process.
type reporter struct {
	role         string
	started      time.Time
	certificates []*tunnel.Credentials
	engine       *engine.Engine
	signer       *enroll.Signer // nil where the CA isn't
	front        *front.Front
	sidecar      *sidecar.Sidecar
	file         string
	fingerprint  atomic.Pointer[string] // nil: there is no file
	checks       *watch
}

// names has the reports name a file, and what of it is in force.
func (r *reporter) names(file string, configuration any) {
	if absolute, err := filepath.Abs(file); err == nil {
		file = absolute
	}
	r.file = file
	r.tells(configuration)
}

// tells has the reports name the configuration that is in force.
func (r *reporter) tells(configuration any) {
	f := fingerprint(configuration)
	r.fingerprint.Store(&f)
}

func (r *reporter) report(ctx context.Context) admin.Report {
	b := readBuild()
	f := facts{Build: buildFacts{Version: b.Version, FIPS140: b.FIPS140.Mode, Info: 1}, Role: r.role, PID: os.Getpid(), File: r.file, Started: r.started}
	if told := r.fingerprint.Load(); told != nil {
		f.Fingerprint = *told
	}
	report := admin.Report{Ready: true, Problems: []string{}, Facts: &f}
	problem := func(format string, args ...any) {
		report.Problems = append(report.Problems, fmt.Sprintf(format, args...))
	}
	now := time.Now()
	for _, c := range r.certificates {
		cert := c.Certificate()
		f.Certificates = append(f.Certificates, certificateFact{c.ID().String(), cert.NotAfter, c.OwnRevoked() != nil, !c.ListOverdue(now).IsZero()})
		if err := c.OwnRevoked(); err != nil {
			report.Ready = false
			problem("%v", err)
		}
		if since := c.ListOverdue(now); !since.IsZero() {
			problem("the list of revoked certificates ended at %s, and no newer one came: who was revoked since is let in", since.UTC().Format(time.RFC3339))
		}
		left, life := cert.NotAfter.Sub(now), cert.NotAfter.Sub(cert.NotBefore)
		switch {
		case left <= 0:
			report.Ready = false
			problem("the certificate of %s expired at %s: no peer takes it any more", c.ID(), cert.NotAfter.UTC().Format(time.RFC3339))
		case left < life/4: // its renewal is overdue, which is tried from a third on
			problem("the certificate of %s ends in %s and has not been renewed", c.ID(), left.Round(time.Second))
		}
	}
	if r.engine != nil {
		status := r.engine.Status()
		f.Engine = &status
		if !status.Up {
			problem("the engine doesn't answer (its supervisor restarts it; the log says why it ended)")
		}
	}
	if r.signer != nil {
		status := r.signer.Status()
		f.Signer = &status
		if !status.Up {
			problem("the process that has the CA's key has ended and is being started again: until then no host enrols or renews (the log says why)")
		}
	}
	if r.front != nil {
		status, process := r.front.Status(), r.front.Process()
		f.Gateway, f.Front = &status, &process
		if process.PID == 0 {
			problem("the front, which takes connections, doesn't run (it is started again; the log says why it ended)")
		}
		if status.Connections >= status.Most {
			problem("all %d connections are taken (limits.connections)", status.Most)
		}
	}
	if r.sidecar != nil {
		status := r.sidecar.Status(ctx)
		f.Sidecar = &status
		var away error
		if r.role == "sidecar" {
			f.Serving, away = r.sidecar.Serving(ctx, status.SharedLanes+status.OwnLanes == 0)
			status = r.sidecar.Status(ctx) // it may have gone on to another gateway
		}
		switch {
		case away != nil:
			status.CacheReachable = false
			problem("the cache can't be reached: %s", strings.ReplaceAll(away.Error(), "\n", "; "))
		case f.Serving != nil:
			status.CacheReachable = true
		case !status.CacheReachable:
			problem("the cache can't be reached (the log says why)")
		}
		if current := status.Current(); current != status.Gateways[0].Name {
			problem("this host uses gateway %s instead of %s, and values there may be older or newer: docs/operations.md has the way back", current, status.Gateways[0].Name)
		}
		if status.Connections >= status.Most {
			problem("all %d application connections are taken (limits.connections)", status.Most)
		}
		if status.OwnLanes >= status.MostOwn {
			problem("all %d application connections that may have a tunnel connection of their own have one (limits.own_lanes)", status.MostOwn)
		}
	}
	if f.Checks = r.checks.facts(); f.Checks != nil {
		for _, c := range f.Checks.Failing {
			problem("%s fails: %s", c.ID, c.Detail)
		}
	}
	return report
}

// defaultSocket is where a role answers if nobody says otherwise. It tells apart
// what may run on one host.
func defaultSocket(role, name string) string {
	return filepath.Join(socketDir, role, name+".sock")
}

const socketDir = "/run/redoubt"

// adminPart is the part that answers. Where a socket that nobody asked for can't
// be made the process runs without: it must not end for that.
func adminPart(c config.Admin, fallback string, r *reporter, follow *following, log *slog.Logger) daemon.Part {
	r.started = time.Now()
	server := admin.Server{Socket: string(c.Socket), Metrics: c.Metrics, Report: r.report, Log: log}
	if r.engine != nil {
		server.Further = verify.Answers(r.engine)
	}
	server.Orders = follow.orders()
	asked := server.Socket != ""
	if !asked {
		server.Socket = fallback
	}
	return daemon.Part{Name: "admin", Run: func(ctx context.Context, ready func()) error {
		began := false
		err := server.Run(ctx, func() { began = true; ready() })
		if err != nil && !began && !asked && c.Metrics == "" {
			log.Warn("redoubt status won't find this process", "cause", err)
			ready()
			<-ctx.Done()
			return nil
		}
		return err
	}}
}

type statusCmd struct {
	Dir    string `placeholder:"DIR" xor:"which" help:"Of the deployment that redoubt up runs in DIR."`
	Config string `placeholder:"FILE" xor:"which" help:"Of the gateway or sidecar that runs with this configuration."`
	Socket string `placeholder:"FILE" xor:"which" help:"Of the process that answers on this socket (admin.socket)."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (statusCmd) Help() string {
	return `Asks the Redoubt processes of this host how they fare; without a flag all that run as gateway, sidecar or up in their usual places. The exit code is 1 if one of them reports a problem, or none runs.

Example:

  redoubt status
  redoubt status --config /etc/redoubt/sidecar.yaml --json | jq -e '.[0].facts.sidecar.cache_reachable'`
}

// answered is a report with where it is from.
type answered struct {
	Socket string `json:"socket"`
	admin.Report
	// Differs: it has read another configuration than the one that was asked for.
	Differs bool `json:"configuration_differs,omitempty"`
}

func (c *statusCmd) Run(e *env) error {
	sockets, read, err := c.sockets()
	if err != nil {
		return misconfigured(err)
	}
	var found []answered
	for _, socket := range sockets {
		report, err := admin.Ask(e.ctx, socket, new(facts))
		if errors.Is(err, admin.ErrNotRunning) && !c.named() {
			continue
		}
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		differs := read != "" && report.Facts.(*facts).Fingerprint != read
		found = append(found, answered{socket, report, differs})
	}
	if len(found) == 0 {
		return fmt.Errorf("status: no gateway, sidecar or up runs here that this user may ask (sockets in %s are their owner's)", socketDir)
	}
	if c.JSON {
		err = writeJSON(e.stdout, found)
	} else {
		printStatus(newPaper(e), found)
	}
	if err != nil {
		return err
	}
	problems := 0
	for _, f := range found {
		problems += len(f.Problems)
	}
	if problems > 0 {
		return fmt.Errorf("status: problems reported: %d", problems)
	}
	return nil
}

// named says whether one process was asked for.
func (c *statusCmd) named() bool { return c.Dir != "" || c.Config != "" || c.Socket != "" }

// sockets are where to ask, and the fingerprint of the configuration that was named.
func (c *statusCmd) sockets() (all []string, read string, err error) {
	switch {
	case c.Socket != "":
		return []string{c.Socket}, "", nil
	case c.Dir != "":
		return []string{filepath.Join(c.Dir, statedir.AdminSocket)}, "", nil
	case c.Config != "":
		role, err := loadEither(c.Config)
		if err != nil {
			return nil, "", err
		}
		return []string{role.socket}, role.fingerprint(), nil
	}
	all, err = filepath.Glob(filepath.Join(socketDir, "*", "*.sock"))
	if err != nil {
		return nil, "", err
	}
	if dir, err := statedir.Default(); err == nil {
		all = append(all, filepath.Join(dir, statedir.AdminSocket))
	}
	return all, "", nil
}

// configured is a role's configuration: one of the two, and where its process answers.
type configured struct {
	gateway *config.Gateway
	sidecar *config.Sidecar
	socket  string
}

func (c configured) fingerprint() string {
	if c.gateway != nil {
		return fingerprint(c.gateway)
	}
	return fingerprint(c.sidecar)
}

// loadEither reads either role's file.
func loadEither(path string) (configured, error) {
	pick := func(socket config.File, role, name string) string {
		if socket != "" {
			return string(socket)
		}
		return defaultSocket(role, name)
	}
	g, gatewayErr := config.LoadGateway(path)
	if gatewayErr == nil {
		return configured{gateway: g, socket: pick(g.Admin.Socket, "gateway", g.Name)}, nil
	}
	if errors.Is(gatewayErr, fs.ErrNotExist) || errors.Is(gatewayErr, fs.ErrPermission) {
		return configured{}, gatewayErr
	}
	s, err := config.LoadSidecar(path)
	if err == nil {
		return configured{sidecar: s, socket: pick(s.Admin.Socket, "sidecar", s.Name)}, nil
	}
	// The role whose file it is like best has the least to say against it.
	switch a, b := faults(gatewayErr), faults(err); {
	case a < b:
		return configured{}, gatewayErr
	case b < a:
		return configured{}, err
	}
	return configured{}, fmt.Errorf("neither a gateway's nor a sidecar's configuration:\n  %w\n  %w", gatewayErr, err)
}

// faults is how much an error finds wrong.
func faults(err error) int {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return len(several.Unwrap())
	}
	return 1
}

func printStatus(p *paper, found []answered) {
	row := func(what, format string, args ...any) {
		p.wrap(fmt.Sprintf("%-11s  ", what), fmt.Sprintf(format, args...))
	}
	for i, a := range found {
		if i > 0 {
			fmt.Fprintln(p.w)
		}
		f := a.Facts.(*facts)
		row(f.Role, "redoubt %s, FIPS 140-3 mode %s, up for %s", f.Build.Version, f.Build.FIPS140, since(f.Started))
		if installed := readBuild().Version; installed != f.Build.Version {
			row("installed", "redoubt %s, which runs from the next start on (%s)", installed, nextStart(f.Role))
		}
		if a.Differs {
			row("differs", "it has read another configuration than the one that is named: that was changed since (redoubt reload takes it in), or this is another process of the same name")
		}
		for _, c := range f.Certificates {
			row("certificate", "%s, until %s (%s left)", c.Identity, c.Until.UTC().Format(time.RFC3339), time.Until(c.Until).Round(time.Minute))
		}
		if s := f.Engine; s != nil {
			life := "not running"
			if s.PID != 0 {
				life = fmt.Sprintf("pid %d, since %s", s.PID, since(s.Since))
			}
			row("engine", "%s, %s, restarts: %d", s.Version, life, s.Restarts)
		}
		if s := f.Signer; s != nil {
			life := "not running"
			if s.Up {
				life = fmt.Sprintf("pid %d, since %s", s.PID, since(s.Since))
			}
			row("signer", "the CA's key, %s, restarts: %d", life, s.Restarts)
		}
		if s := f.Gateway; s != nil {
			row("gateway", "%s, connections: %d of %d, of hosts: %d, refused: %d", s.Address, s.Connections, s.Most, s.Identities, s.Refused)
		}
		if s := f.Front; s != nil && s.PID != 0 {
			row("front", "pid %d, since %s, restarts: %d", s.PID, since(s.Since), s.Restarts)
		}
		if s := f.Sidecar; s != nil {
			row("sidecar", "%s, connections: %d of %d, shared lanes: %d, own: %d, commands: %d, wrong passwords: %d", s.Address, s.Connections, s.Most, s.SharedLanes, s.OwnLanes, s.Commands, s.WrongPasswords)
			for _, line := range refusedLines(s.Refused) {
				row("refused", "%s", line)
			}
		}
		if s := f.Serving; s != nil {
			row("served by", "gateway %s at %s, dialled %s ago", s.Gateway, s.Address, since(s.Dialled))
		}
		if c := f.Checks; c != nil {
			row("checks", "pass: %d, fail: %d, accepted: %d, skip: %d, %s ago", c.Pass, len(c.Failing), c.Accepted, c.Skip, since(c.When))
		}
		for _, problem := range slices.Sorted(slices.Values(a.Problems)) {
			row("PROBLEM", "%s", problem)
		}
	}
}

// refusedLines gives a command that a policy could open a line of its own, since
// somebody may have to decide about it. The rest share one: each redoubt verify tries
// all of them.
func refusedLines(refused []sidecar.Refusal) (lines []string) {
	var never []string
	times := int64(0)
	for _, r := range refused {
		if r.Opens != explain.Nothing {
			lines = append(lines, fmt.Sprintf("%s, times: %d, by the %s (policy: %s)", typed(r.Command), r.Times, r.By, r.Opens))
			continue
		}
		never = append(never, typed(r.Command))
		times += r.Times
	}
	if rest := len(never) - fewNames; rest > 0 {
		never = append(never[:fewNames], fmt.Sprintf("%d more (--json has each)", rest))
	}
	if len(never) > 0 {
		lines = append(lines, fmt.Sprintf("what no policy opens, times: %d: %s", times, strings.Join(never, ", ")))
	}
	return lines
}

// fewNames is how many names fit a line beside what is said of them.
const fewNames = 3

// nextStart is how a role gets to run what is installed, and what that costs.
func nextStart(role string) string {
	switch role {
	case "gateway":
		return "systemctl restart redoubt-gateway: with its engine the cache starts empty"
	case "sidecar":
		return "systemctl restart redoubt-sidecar"
	}
	return "with its engine the cache starts empty"
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }
