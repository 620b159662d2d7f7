package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// problem is something wrong with one key. Its text never repeats more of the
// file than a key or a value that is documented to be no secret.
type problem struct {
	path string // limits.connections
	text string
	line int // 0: the file doesn't have the key
}

// value is a leaf with a syntax of its own. set returns what would be right.
type value interface {
	set(text string) (want string, ok bool)
}

// decoder fills a schema from YAML nodes. It does less than the library's own
// decoding, on purpose: no aliases, no merging, no guessing of types; and so
// each of its errors can name the key and the line.
type decoder struct {
	problems []problem
	lines    map[string]int // where each key stands, for what is found wrong later
}

func (d *decoder) wrong(node *yaml.Node, path, format string, args ...any) {
	d.problems = append(d.problems, problem{path, fmt.Sprintf(format, args...), node.Line})
}

func (d *decoder) decode(node *yaml.Node, path string, into reflect.Value) {
	d.lines[path] = node.Line
	switch custom, ok := into.Addr().Interface().(value); {
	case ok:
		if want, ok := custom.set(node.Value); node.Kind != yaml.ScalarNode || !ok {
			d.wrong(node, path, "must be %s", want)
		}
	case into.Kind() == reflect.Struct:
		d.decodeStruct(node, path, into)
	case into.Kind() == reflect.Slice:
		d.decodeSlice(node, path, into)
	default:
		d.decodeScalar(node, path, into)
	}
}

func (d *decoder) decodeStruct(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.wrong(node, path, "must be keys and values")
		return
	}
	var seen []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, val := node.Content[i], node.Content[i+1]
		at := join(path, key.Value)
		switch field, ok := fieldByKey(into, key.Value); {
		case !ok:
			d.wrong(key, at, "is no key of ours (known here: %s)", knownKeys(into.Type()))
		case slices.Contains(seen, key.Value):
			d.wrong(key, at, "stands twice")
		default:
			seen = append(seen, key.Value)
			d.decode(val, at, field)
		}
	}
}

func (d *decoder) decodeSlice(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind == yaml.ScalarNode && into.Type() == reflect.TypeFor[Sources]() { // one needs no brackets
		node = &yaml.Node{Kind: yaml.SequenceNode, Line: node.Line, Content: []*yaml.Node{node}}
	}
	if node.Kind != yaml.SequenceNode {
		d.wrong(node, path, "must be a list: [a, b]")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, element := range node.Content {
		if _, leaf := into.Index(i).Addr().Interface().(value); into.Index(i).Kind() == reflect.Struct && !leaf {
			setDefaults(into.Index(i))
		}
		d.decode(element, fmt.Sprintf("%s[%d]", path, i), into.Index(i))
	}
}

func (d *decoder) decodeScalar(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" {
		d.wrong(node, path, "has no value")
		return
	}
	switch into.Kind() {
	case reflect.String:
		into.SetString(node.Value)
	case reflect.Int:
		n, err := strconv.Atoi(node.Value)
		if err != nil {
			d.wrong(node, path, "must be a whole number")
			return
		}
		into.SetInt(int64(n))
	case reflect.Bool:
		if node.Value != "true" && node.Value != "false" {
			d.wrong(node, path, "must be true or false")
			return
		}
		into.SetBool(node.Value == "true")
	default:
		panic("config: the schema has a field of a kind that decode doesn't know: " + path)
	}
}

func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
