package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// NewGateway is gateway.yaml with its defaults.
func NewGateway() *Gateway { return withDefaults(new(Gateway)) }

// NewSidecar is sidecar.yaml with its defaults.
func NewSidecar() *Sidecar { return withDefaults(new(Sidecar)) }

func withDefaults[T any](of *T) *T {
	setDefaults(reflect.ValueOf(of).Elem())
	return of
}

// Text is a configuration as a file: what differs from the defaults, in the schema's
// order. Read again it is the same configuration. of is a pointer to a schema.
func Text(of any) string {
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(nodeOf(reflect.ValueOf(of).Elem())), encoder.Close()); err != nil {
		panic(fmt.Sprintf("config: %T can't be written: %v", of, err)) // the schema has a type that YAML hasn't
	}
	return b.String()
}

// nodeOf is a struct as a mapping, without what is as it is by default.
func nodeOf(v reflect.Value) *yaml.Node {
	usual := reflect.New(v.Type()).Elem()
	setDefaults(usual)
	node := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		if reflect.DeepEqual(v.Field(i).Interface(), usual.Field(i).Interface()) {
			continue
		}
		value := valueNode(v.Field(i))
		if value.Kind == yaml.MappingNode && len(value.Content) == 0 {
			continue
		}
		node.Content = append(node.Content, scalar(v.Type().Field(i).Tag.Get("yaml")), value)
	}
	return node
}

func valueNode(v reflect.Value) *yaml.Node {
	if text, ok := v.Interface().(fmt.Stringer); ok { // sizes, durations, networks
		return scalar(text.String())
	}
	switch v.Kind() {
	case reflect.Struct:
		return nodeOf(v)
	case reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			list.Content = append(list.Content, valueNode(v.Index(i)))
		}
		if v.Len() == 0 || list.Content[0].Kind == yaml.ScalarNode {
			list.Style = yaml.FlowStyle
		}
		for _, element := range list.Content {
			element.Style = yaml.FlowStyle
		}
		return list
	case reflect.Bool, reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())}
	}
	return scalar(v.String())
}

// scalar is a text, which YAML quotes where it would be taken for something else.
func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}
