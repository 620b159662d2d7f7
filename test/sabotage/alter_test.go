//go:build slow

package sabotage_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
)

// An alteration gives one field another value.
type alteration struct {
	field string // Cache.Admit[0]
	how   string
	apply func(root reflect.Value)
}

// group is the field that a map's entries, a list's elements and a file's parts belong to.
func (a alteration) group() string {
	name, _, _ := strings.Cut(a.field, "[")
	return name
}

// alterations are those of every exported field of what root points to, each by what
// its kind lets it be: what isn't of the sound value's shape can't be found out.
func alterations(root reflect.Value) []alteration {
	return altered(root, "", func(root reflect.Value) reflect.Value { return root.Elem() })
}

func altered(root reflect.Value, path string, at func(reflect.Value) reflect.Value) (list []alteration) {
	v := at(root)
	add := func(field, how string, change func(v reflect.Value)) {
		list = append(list, alteration{field, how, func(root reflect.Value) { change(at(root)) }})
	}
	set := func(how string, to any) {
		if w := reflect.ValueOf(to).Convert(v.Type()); !w.Equal(v) {
			add(path, how, func(v reflect.Value) { v.Set(w) })
		}
	}
	within := func(name string, step func(reflect.Value) reflect.Value) {
		list = append(list, altered(root, name, func(root reflect.Value) reflect.Value { return step(at(root)) })...)
	}
	zero := func(how string) {
		if !v.IsZero() {
			add(path, how, reflect.Value.SetZero)
		}
	}
	switch v.Kind() {
	case reflect.Bool:
		set("the other way", !v.Bool())
	case reflect.Int, reflect.Int64, reflect.Int32:
		set("the most there is", int64(math.MaxInt32)) // first: a zero may stand for the very value
		set("one more", v.Int()+1)
		zero("zero")
		if strings.HasSuffix(path, "PID") {
			set("another process's", int64(os.Getpid()))
		}
	case reflect.String:
		set("another", v.String()+"x")
		zero("zero")
	case reflect.Func:
		if !v.IsNil() {
			add(path, "fails", func(v reflect.Value) { v.Set(failing(v.Type())) })
		}
	case reflect.Pointer:
		if !v.IsNil() {
			add(path, "nil", reflect.Value.SetZero)
			within(path, reflect.Value.Elem)
		}
	case reflect.Struct:
		if v.NumField() > 0 && !v.Type().Field(0).IsExported() && !v.IsZero() { // netip.Prefix, time.Time
			add(path, "zero", reflect.Value.SetZero)
		}
		for _, f := range reflect.VisibleFields(v.Type()) {
			if f.IsExported() {
				within(strings.TrimPrefix(path+"."+f.Name, "."), func(v reflect.Value) reflect.Value { return v.FieldByIndex(f.Index) })
			}
		}
	case reflect.Slice:
		zero("left out")
		add(path, "one more", func(v reflect.Value) { v.Set(reflect.Append(v, another(v.Type().Elem()))) })
		for i := range v.Len() {
			add(fmt.Sprintf("%s[%d]", path, i), "left out", func(v reflect.Value) {
				v.Set(reflect.AppendSlice(v.Slice3(0, i, i), v.Slice(i+1, v.Len())))
			})
			within(fmt.Sprintf("%s[%d]", path, i), func(v reflect.Value) reflect.Value { return v.Index(i) })
		}
	case reflect.Map: // of texts, the only ones that there are
		zero("left out")
		for _, name := range slices.Sorted(maps.Keys(v.Interface().(map[string]string))) {
			key, entry := reflect.ValueOf(name), fmt.Sprintf("%s[%s]", path, name)
			add(entry, "left out", func(v reflect.Value) { v.SetMapIndex(key, reflect.Value{}) })
			add(entry, "another", func(v reflect.Value) { v.SetMapIndex(key, reflect.ValueOf(v.MapIndex(key).String()+"1")) })
		}
	default:
		panic(fmt.Sprintf("%s is a %s, of which nobody has said how to alter it", path, v.Kind()))
	}
	return list
}

// another is a further element of a list.
func another(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if t.Kind() == reflect.String {
		v.SetString("another")
	}
	return v
}

var errAltered = errors.New("it doesn't answer")

func failing(t reflect.Type) reflect.Value {
	return reflect.MakeFunc(t, func([]reflect.Value) (results []reflect.Value) {
		for i := range t.NumOut() - 1 {
			results = append(results, reflect.Zero(t.Out(i)))
		}
		return append(results, reflect.ValueOf(&errAltered).Elem())
	})
}
