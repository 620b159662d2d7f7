package verify

import (
	"context"
	"net/http"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// Answers is what a process with an engine answers to a verification, on its admin
// socket: by pattern, for admin.Server.
func Answers(e *engine.Engine) map[string]func(*http.Request) (any, error) {
	return map[string]func(*http.Request) (any, error){
		"GET /audit":  func(r *http.Request) (any, error) { return e.Audit(r.Context()) },
		"POST /guest": func(r *http.Request) (any, error) { return e.NewGuest(r.Context()) },
		"DELETE /guest/{user}": func(r *http.Request) (any, error) {
			return struct{}{}, e.Dismiss(r.Context(), r.PathValue("user"))
		},
	}
}

// Ask has the cache host's engine asked over the admin socket of its process: the
// other end of Answers.
func (c *Cache) Ask(socket string) {
	c.Audit = func(ctx context.Context) (a engine.Audit, err error) {
		err = admin.Call(ctx, socket, http.MethodGet, "/audit", &a)
		return a, err
	}
	c.NewGuest = func(ctx context.Context) (g engine.Guest, err error) {
		err = admin.Call(ctx, socket, http.MethodPost, "/guest", &g)
		return g, err
	}
	c.Dismiss = func(ctx context.Context, user string) error {
		return admin.Call(ctx, socket, http.MethodDelete, "/guest/"+user, new(struct{}))
	}
}

// Own is the same for the process that has the engine.
func (c *Cache) Own(e *engine.Engine) {
	c.Audit, c.NewGuest, c.Dismiss = e.Audit, e.NewGuest, e.Dismiss
}
