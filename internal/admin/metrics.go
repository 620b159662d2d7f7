package admin

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A report's struct says itself which of its fields are metrics:
//
//	type Status struct {
//		Peer  string `json:"peer" label:"peer"`
//		Count int    `json:"count" metric:"redoubt_things" help:"Things that there are."`
//	}
//
// Numbers, booleans (1 or 0), durations (in seconds) and times (Unix time; the
// zero time is left out) can be. A name that ends in _total is a counter, any
// other a gauge. Strings with a label are labels of all metrics of their struct
// and of the structs below it. Structs, pointers and slices of them are walked.

// metric is one name with all its samples.
type metric struct {
	name, help string
	samples    []string
}

// AppendMetrics appends a report's metrics, in Prometheus's text format 0.0.4.
func AppendMetrics(b []byte, r Report) []byte {
	var c collector
	c.add(metric{name: "redoubt_ready", help: "1 if the process can serve.", samples: []string{sample("redoubt_ready", "", boolean(r.Ready))}})
	c.add(metric{name: "redoubt_problems", help: "What redoubt status shows as problems.", samples: []string{sample("redoubt_problems", "", float64(len(r.Problems)))}})
	c.walk(reflect.ValueOf(r.Facts), "")
	for _, m := range c.metrics {
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, kindOf(m.name))
		for _, s := range m.samples {
			b = append(append(b, s...), '\n')
		}
	}
	return b
}

func kindOf(name string) string {
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

type collector struct{ metrics []metric }

// add keeps the samples of one name together, as the format wants it.
func (c *collector) add(m metric) {
	if i := slices.IndexFunc(c.metrics, func(o metric) bool { return o.name == m.name }); i >= 0 {
		c.metrics[i].samples = append(c.metrics[i].samples, m.samples...)
		return
	}
	c.metrics = append(c.metrics, m)
}

func (c *collector) walk(v reflect.Value, labels string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			c.walk(v.Elem(), labels)
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.walk(v.Index(i), labels)
		}
	case reflect.Struct:
		t := v.Type()
		for i := range t.NumField() {
			if name := t.Field(i).Tag.Get("label"); name != "" {
				labels += fmt.Sprintf(`,%s="%s"`, name, escape(v.Field(i).String()))
			}
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name := f.Tag.Get("metric")
			if name == "" {
				c.walk(v.Field(i), labels)
				continue
			}
			if value, ok := number(v.Field(i)); ok {
				c.add(metric{name, f.Tag.Get("help"), []string{sample(name, labels, value)}})
			}
		}
	}
}

func number(v reflect.Value) (_ float64, ok bool) {
	switch x := v.Interface().(type) {
	case time.Time:
		return float64(x.UnixMilli()) / 1000, !x.IsZero()
	case time.Duration:
		return x.Seconds(), true
	case bool:
		return boolean(x), true
	}
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func sample(name, labels string, value float64) string {
	if labels != "" {
		name += "{" + labels[1:] + "}"
	}
	return name + " " + strconv.FormatFloat(value, 'f', -1, 64)
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace

// A Description is a metric without its value, for the documents.
type Description struct{ Name, Kind, Help string }

// Describe lists the metrics that a type of facts can have, by name.
func Describe(facts ...reflect.Type) []Description {
	found := map[string]Description{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				if name := f.Tag.Get("metric"); name != "" {
					found[name] = Description{name, kindOf(name), f.Tag.Get("help")}
					continue
				}
				walk(f.Type)
			}
		}
	}
	for _, t := range facts {
		walk(t)
	}
	var list []Description
	for _, d := range found {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Description) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
