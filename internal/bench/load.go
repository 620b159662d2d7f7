package bench

import (
	"fmt"
	"slices"
	"strings"
)

// A Load is one way to use a cache.
type Load struct {
	Name        string `json:"name"` // as --loads takes it
	Title       string `json:"title"`
	Connections int    `json:"connections"`
	Pipeline    int    `json:"pipeline"` // requests sent at once on a connection
	ValueSize   int    `json:"value_size"`
	Set         bool   `json:"set,omitempty"`   // SET instead of GET
	Churn       bool   `json:"churn,omitempty"` // a new connection for each request
	Unix        bool   `json:"unix,omitempty"`  // over the application's unix socket, where a peer has one
	Rate        int    `json:"rate,omitempty"`  // open loop: requests due each second; 0 is a closed loop
}

// DefaultRate is the open loop's: below what the slowest peer that we know can
// do on two cores, so that it shows latency and not overload.
const DefaultRate = 5000

// Loads are all loads, in the order of the tables. 256 bytes are a session or a
// small JSON object; 4 KB a large one; 20 and 64 KB a rendered page or report.
func Loads() []Load {
	return []Load{
		{Name: "c50", Title: "GET, 50 connections", Connections: 50, Pipeline: 1, ValueSize: 256},
		{Name: "set", Title: "SET, 50 connections", Connections: 50, Pipeline: 1, ValueSize: 256, Set: true},
		{Name: "c500", Title: "GET, 500 connections", Connections: 500, Pipeline: 1, ValueSize: 256},
		{Name: "p16", Title: "GET, 50 connections, pipeline 16", Connections: 50, Pipeline: 16, ValueSize: 256},
		{Name: "c1", Title: "GET, 1 connection", Connections: 1, Pipeline: 1, ValueSize: 256},
		{Name: "unix", Title: "GET, 50 connections, by unix socket", Connections: 50, Pipeline: 1, ValueSize: 256, Unix: true},
		{Name: "4k", Title: "GET of 4 KB, 20 connections", Connections: 20, Pipeline: 1, ValueSize: 4 << 10},
		{Name: "set4k", Title: "SET of 4 KB, 20 connections", Connections: 20, Pipeline: 1, ValueSize: 4 << 10, Set: true},
		{Name: "set20k", Title: "SET of 20 KB, 20 connections", Connections: 20, Pipeline: 1, ValueSize: 20 << 10, Set: true},
		{Name: "set64k", Title: "SET of 64 KB, 20 connections", Connections: 20, Pipeline: 1, ValueSize: 64 << 10, Set: true},
		{Name: "64k", Title: "GET of 64 KB, 20 connections", Connections: 20, Pipeline: 1, ValueSize: 64 << 10},
		{Name: "churn", Title: "a new connection for each GET, 20 at once", Connections: 20, Pipeline: 1, ValueSize: 256, Churn: true},
		{Name: "open", Title: "GET at a fixed rate, 50 connections", Connections: 50, Pipeline: 1, ValueSize: 256, Rate: DefaultRate},
	}
}

// Named finds loads by their names, in the order of Loads; none are all.
func Named(names []string) ([]Load, error) {
	all := Loads()
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, l := range all {
		known = append(known, l.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("no load is called %q: there are %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(l Load) bool { return !slices.Contains(names, l.Name) }), nil
}
