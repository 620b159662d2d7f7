package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Audit is what the engine that runs says of itself, asked by its supervisor, and
// how its users differ from what the policy makes.
type Audit struct {
	Policy   Policy            `json:"policy"` // that is in force
	Version  Version           `json:"version"`
	Binary   string            `json:"binary"` // as it was started
	PID      int               `json:"pid"`
	UID      int               `json:"uid"` // -1: its supervisor's own
	RunDir   string            `json:"run_dir"`
	Settings map[string]string `json:"settings"` // CONFIG GET *
	Users    []string          `json:"users"`    // ACL LIST, passwords by the first 12 digits of their digest
	Info     map[string]string `json:"info"`     // INFO server, memory, persistence, replication
	Modules  []string          `json:"modules"`  // INFO modules

	UsersDrift []Difference `json:"users_drift"` // the supervisor's finding, who alone knows the passwords' digests
}

// SettingsDrift is how the settings differ from what the policy makes. Who asks
// compares: an answer that lacks them is no good one.
func (a Audit) SettingsDrift() []Difference {
	return settingsDrift(Wanted(a.Version, a.Policy), a.Settings)
}

// auditPatience bounds each question of an audit.
const auditPatience = 3 * time.Second

var errNotRunning = errors.New("engine: not running")

// Audit asks over a connection of its own.
func (e *Engine) Audit(ctx context.Context) (Audit, error) {
	c, secret, err := e.supervise(ctx)
	if err != nil {
		return Audit{}, err
	}
	defer c.close()
	e.auditing.Lock()
	defer e.auditing.Unlock()
	e.mu.Lock()
	a := Audit{Policy: e.policy, Version: e.version, Binary: e.path, PID: e.pid, UID: e.id.uid, RunDir: e.runDir}
	e.mu.Unlock()
	if err := a.askSettings(ctx, c, secret.config); err != nil {
		return Audit{}, fmt.Errorf("engine: CONFIG GET: %w", err)
	}
	if err := e.askUsers(ctx, &a, c, secret.acl); err != nil {
		return Audit{}, fmt.Errorf("engine: ACL LIST: %w", err)
	}
	info, err := c.text(ctx, "INFO", "server", "memory", "persistence", "replication", "modules")
	if err != nil {
		return Audit{}, fmt.Errorf("engine: INFO: %w", err)
	}
	a.Info, a.Modules = readInfo(info)
	return a, nil
}

func (a *Audit) askSettings(ctx context.Context, c *control, config string) error {
	pairs, err := c.list(ctx, config, "GET", "*")
	if err != nil {
		return err
	}
	for name := range Wanted(a.Version, a.Policy) {
		if slices.Contains(pairs, name) {
			continue
		}
		// Some are told only to who asks for them by name (config.c, HIDDEN_CONFIG).
		hidden, err := c.list(ctx, config, "GET", name)
		if err != nil {
			return err
		}
		pairs = append(pairs, hidden...)
	}
	a.Settings = map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		a.Settings[pairs[i]] = pairs[i+1]
	}
	return nil
}

// The engine writes a user's rules in words of its own, another way in each
// version. So beside the users that are there it is made to write those that
// ought to be there: users with the same rules, without a password, so that nobody
// can be them, for the moment of the question.
const (
	referenceApp        = "redoubt-reference-app"
	referenceSupervisor = "redoubt-reference-supervisor"
)

func (e *Engine) askUsers(ctx context.Context, a *Audit, c *control, acl string) (err error) {
	for name, rights := range map[string][]string{referenceApp: e.rights(a.Policy), referenceSupervisor: append([]string{"on", "sanitize-payload"}, strings.Fields(supervisorRights)...)} {
		if err := c.do(ctx, auditPatience, append([]string{acl, "SETUSER", name, "reset"}, rights...)...); err != nil {
			return err
		}
	}
	defer func() {
		err = errors.Join(err, c.do(ctx, auditPatience, acl, "DELUSER", referenceApp, referenceSupervisor))
	}()
	lines, err := c.list(ctx, acl, "LIST")
	if err != nil {
		return err
	}
	e.mu.Lock()
	guests := maps.Clone(e.guests)
	e.mu.Unlock()
	have := map[string]userRules{}
	for _, line := range lines {
		u := parseUser(line)
		if guests[u.name].IsZero() {
			have[u.name] = u
		}
	}
	app, ours := have[referenceApp], have[referenceSupervisor]
	delete(have, referenceApp)
	delete(have, referenceSupervisor)
	for _, name := range slices.Sorted(maps.Keys(have)) {
		a.Users = append(a.Users, have[name].String())
	}
	a.UsersDrift = usersDrift(have, app, ours, e.options.Passwords())
	return nil
}

func readInfo(text string) (fields map[string]string, modules []string) {
	fields = map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case !ok:
		case name == "module":
			modules = append(modules, value)
		default:
			fields[name] = value
		}
	}
	return fields, modules
}

// supervise opens a further connection of the supervisor's.
func (e *Engine) supervise(ctx context.Context) (*control, secrets, error) {
	e.mu.Lock()
	socket, secret := e.socket, e.secret
	e.mu.Unlock()
	if socket == "" {
		return nil, secrets{}, errNotRunning
	}
	c, err := newControl(ctx, socket, secret.password)
	if err != nil {
		return nil, secrets{}, fmt.Errorf("engine: %w", err)
	}
	return c, secret, nil
}

// Bounds of what an engine answers over one connection to questions whose answer is
// text. CONFIG GET * is 5 KB and INFO as much, ACL LIST 1 KB for each password: an
// engine that was taken over must not fill the memory of its supervisor, which is root's.
const (
	maxAuditItems = 4096    // in one list
	maxAuditText  = 4 << 20 // bytes, all answers together, with what an item costs us
	itemCost      = 64      // bytes: its header, and what an allocation rounds up
)

var errTooMuch = errors.New("it answers with more than an engine has to say")

// list sends a command whose reply is an array of bulk strings.
func (c *control) list(ctx context.Context, args ...string) (items []string, err error) {
	stop, err := c.send(ctx, auditPatience, args...)
	if err != nil {
		return nil, err
	}
	defer stop()
	n, err := c.header(ctx, '*', maxAuditItems)
	if err != nil {
		return nil, err
	}
	for range n {
		item, err := c.bulk(ctx)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// text sends a command whose reply is a bulk string.
func (c *control) text(ctx context.Context, args ...string) (string, error) {
	stop, err := c.send(ctx, auditPatience, args...)
	if err != nil {
		return "", err
	}
	defer stop()
	return c.bulk(ctx)
}

func (c *control) bulk(ctx context.Context) (string, error) {
	n, err := c.header(ctx, '$', maxAuditText)
	if err != nil {
		return "", err
	}
	if c.told += n + itemCost; c.told > maxAuditText {
		return "", errTooMuch
	}
	text := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(c.r, text); err != nil {
		return "", err
	}
	return string(text[:n]), nil
}

// header reads the first line of a reply of a kind that was asked for.
func (c *control) header(ctx context.Context, kind byte, most int) (int, error) {
	line, err := c.reply(ctx)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if line[0] != kind || err != nil || n < 0 || n > most {
		return 0, errors.New("its reply is of no kind that was asked for")
	}
	return n, nil
}
