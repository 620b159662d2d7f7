package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// setDefaults gives every field the value of its default tag.
func setDefaults(root reflect.Value) {
	eachField(root, "", func(path string, f reflect.StructField, v reflect.Value) {
		if text := f.Tag.Get("default"); text != "" {
			v.Set(fromTag(f, text))
		}
	})
}

// checkBounds holds every number against its min and max tags.
func checkBounds(root reflect.Value) (problems []problem) {
	eachField(root, "", func(path string, f reflect.StructField, v reflect.Value) {
		low, high := f.Tag.Get("min"), f.Tag.Get("max")
		if low == "" {
			return
		}
		if n := v.Int(); n < fromTag(f, low).Int() || n > fromTag(f, high).Int() {
			problems = append(problems, problem{path: path, text: fmt.Sprintf("is %v, must be between %s and %s", v.Interface(), low, high)})
		}
	})
	return problems
}

// fromTag reads a tag as the file would be read. A tag that its own field
// can't hold is a fault of ours, which any test of this package finds.
func fromTag(f reflect.StructField, text string) reflect.Value {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		panic(fmt.Sprintf("config: tag of %s: %v", f.Name, err))
	}
	d, v := decoder{lines: map[string]int{}}, reflect.New(f.Type).Elem()
	if d.decode(doc.Content[0], f.Name, v); len(d.problems) > 0 {
		panic(fmt.Sprintf("config: tag of %s: %v", f.Name, d.problems))
	}
	return v
}

// eachField walks the leaves of a schema in the order in which they are written.
func eachField(v reflect.Value, path string, do func(path string, f reflect.StructField, v reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		at := join(path, f.Tag.Get("yaml"))
		if f.Type.Kind() == reflect.Struct {
			eachField(v.Field(i), at, do)
			continue
		}
		do(at, f, v.Field(i))
		if _, leaf := reflect.New(elementOf(f.Type)).Interface().(value); elementOf(f.Type).Kind() == reflect.Struct && !leaf {
			for j := range v.Field(i).Len() {
				eachField(v.Field(i).Index(j), fmt.Sprintf("%s[%d]", at, j), do)
			}
		}
	}
}

// elementOf is what a slice is of; any other type is its own.
func elementOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Slice {
		return t.Elem()
	}
	return t
}

func knownKeys(t reflect.Type) string {
	var keys []string
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("yaml"))
	}
	return strings.Join(keys, ", ")
}

// Document prints docs/configuration.md.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	for _, file := range []struct {
		name, about string
		schema      any
	}{
		{"gateway.yaml", "On the cache host, read by `redoubt gateway --config FILE`.", Gateway{}},
		{"sidecar.yaml", "On each application host, read by `redoubt sidecar --config FILE`.", Sidecar{}},
		{"deployment.yaml", "Wherever hosts are set up from, read by `redoubt render`. `gateways` and `apps` are lists of what stands below them.", Deployment{}},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```yaml\n", file.name, file.about)
		documentFields(&b, reflect.TypeOf(file.schema), key{}, "", "")
		b.WriteString("```\n")
	}
	return b.String()
}

const documentHead = `# Configuration

This page is printed from the schema in ` + "`internal/config`" + `; a test keeps it true.

One YAML file a role. An unknown key, a wrong type or a value out of bounds is an error that names the file and the line.
Below stands every key with its default; a key marked *required* has none and shows an example.
Paths are absolute, relative to the file's own directory, or ` + "`credential:NAME`" + ` for a systemd credential.
"Reload: yes" says that a process which runs takes the key in anew: ` + "`redoubt reload`" + ` (` + "`systemctl reload`" + `, or SIGHUP). "Restart" says why it can't; ` + "`redoubt reload --dry-run`" + ` tells beforehand what would come of a changed file. What stands at a group of keys is for all of them.
Sizes are written ` + "`64mb`, `1gb`" + ` (powers of 1024), durations ` + "`500ms`, `5s`, `10m`" + `.
`

func documentFields(b *strings.Builder, t reflect.Type, group key, indent, first string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, doc := f.Tag.Get("yaml"), f.Tag.Get("doc")
		at := group.below(f, i)
		value, optional := f.Tag.Lookup("default")
		switch {
		case f.Type.Kind() == reflect.Struct && !optional:
			fmt.Fprintf(b, "%s# %s%s\n%s%s:\n", indent, doc, at.remark(f), indent, name)
			documentFields(b, f.Type, at, indent+"  ", "")
			continue
		case f.Type.Kind() == reflect.Slice && !optional:
			fmt.Fprintf(b, "%s# Required. %s%s\n%s%s:\n", indent, doc, at.remark(f), indent, name)
			documentFields(b, f.Type.Elem(), at, indent+"    ", indent+"  - ")
			continue
		case !optional:
			doc, value = "Required. "+doc, examples[name]
		case f.Tag.Get("min") != "":
			doc += fmt.Sprintf(" From %s to %s.", f.Tag.Get("min"), f.Tag.Get("max"))
		}
		if example := f.Tag.Get("example"); example != "" {
			value = example
		}
		if value == "" {
			value = `""`
		}
		lead := indent
		if i == 0 && first != "" {
			lead = first
		}
		fmt.Fprintf(b, "%s# %s%s\n%s%s: %s\n", indent, doc, at.remark(f), lead, name, value)
	}
}

// examples of keys that have no default.
var examples = map[string]string{
	"deployment": "clinic",
	"name":       "cache-1",
	"address":    "10.77.0.2:6379",
}
