package engine

import "time"

// Status is what the supervisor tells of the engine.
type Status struct {
	Version  string    `json:"version" label:"version"` // with the product: "redis 7.0.15"
	Up       bool      `json:"up" metric:"redoubt_engine_up" help:"1 while the engine answers."`
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since,omitzero" metric:"redoubt_engine_start_time_seconds" help:"When the engine that runs now was started; its data is as old at most."`
	Uses     []Use     `json:"uses"` // of the policy that is in force
	Allow    []string  `json:"allow,omitempty"`
	Deny     []string  `json:"deny,omitempty"`
	Restarts int       `json:"restarts" metric:"redoubt_engine_restarts_total" help:"Times that the engine ended by itself, or had to be ended, and was started again; its data was gone each time."`
}

// Status may be called by any goroutine.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.policy
	return Status{Version: e.version.String(), Up: e.answers, PID: e.pid, Since: e.since, Uses: p.Uses, Allow: p.Allow, Deny: p.Deny, Restarts: e.restarts}
}
