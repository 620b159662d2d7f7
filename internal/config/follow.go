package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Change is a key that two configurations of a role have different values for.
type Change struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
	// Restart says why a process that runs can't take it in; "": it can.
	Restart string `json:"restart,omitempty"`
}

// Changes is what differs, in the schema's order. before and after are pointers to the
// same role's.
func Changes(before, after any) (changes []Change) {
	a, b := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	eachKey(a.Type(), key{}, func(k key) {
		was, is := a.FieldByIndex(k.index).Interface(), b.FieldByIndex(k.index).Interface()
		if !same(was, is) {
			changes = append(changes, Change{k.path, shown(was), shown(is), k.restart})
		}
	})
	return changes
}

// FollowGateway is before with what a process that runs can take in of after. An error
// says that the two don't fit each other: what can't be taken in would have to come along.
func FollowGateway(path string, before, after *Gateway) (*Gateway, error) {
	return follow(path, before, after)
}

// FollowSidecar is the same for the other role.
func FollowSidecar(path string, before, after *Sidecar) (*Sidecar, error) {
	return follow(path, before, after)
}

func follow[T any, P interface {
	*T
	schema
}](path string, before, after P) (P, error) {
	next := *before
	a, b := reflect.ValueOf(&next).Elem(), reflect.ValueOf(after).Elem()
	eachKey(a.Type(), key{}, func(k key) {
		if k.restart == "" {
			a.FieldByIndex(k.index).Set(b.FieldByIndex(k.index))
		}
	})
	var errs []error
	for _, p := range P(&next).check() {
		errs = append(errs, fmt.Errorf("%s: what can change in a process that runs doesn't fit what only a restart changes: %s %s", path, p.path, p.text))
	}
	return &next, errors.Join(errs...)
}

// key is one that a file may have.
type key struct {
	path    string
	index   []int
	restart string // "": it can be taken in
	decided bool   // its tags say which
}

// eachKey walks a schema's keys below a group in the order in which they are written; a
// list is one.
func eachKey(t reflect.Type, group key, do func(key)) {
	for i := range t.NumField() {
		f := t.Field(i)
		k := group.below(f, i)
		if f.Type.Kind() == reflect.Struct {
			eachKey(f.Type, k, do)
			continue
		}
		do(k)
	}
}

// below is a field of a group; what is said of that is for it too.
func (group key) below(f reflect.StructField, i int) key {
	k := key{join(group.path, f.Tag.Get("yaml")), append(group.index[:len(group.index):len(group.index)], i), group.restart, group.decided}
	if reason, ok := f.Tag.Lookup("restart"); ok {
		k.restart, k.decided = reason, true
	}
	if _, ok := f.Tag.Lookup("reload"); ok {
		k.restart, k.decided = "", true
	}
	return k
}

// remark is what the manual says of a field that decides.
func (k key) remark(f reflect.StructField) string {
	_, live := f.Tag.Lookup("reload")
	_, fixed := f.Tag.Lookup("restart")
	switch {
	case live:
		return " Reload: yes."
	case fixed:
		return " Restart: " + k.restart + "."
	}
	return ""
}

// same takes a list that is missing for one that is empty.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.Kind() == reflect.Slice && x.Len()+y.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}

// maxShown bounds what is shown of a value, in bytes.
const maxShown = 2000

// shown is a value as a file has it, in one line. No secret stands in a file.
func shown(value any) string {
	node := valueNode(reflect.ValueOf(value))
	if node.Kind == yaml.ScalarNode {
		return bounded(node.Value)
	}
	flow(node)
	text, err := yaml.Marshal(node)
	if err != nil {
		panic(fmt.Sprintf("config: %T can't be written: %v", value, err)) // the schema has a type that YAML hasn't
	}
	return bounded(strings.Join(strings.Fields(string(text)), " "))
}

func flow(n *yaml.Node) {
	n.Style = yaml.FlowStyle
	for _, below := range n.Content {
		if below.Kind != yaml.ScalarNode {
			flow(below)
		}
	}
}

func bounded(text string) string {
	if text == "" {
		return `""`
	}
	if len(text) > maxShown {
		return strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return text
}
