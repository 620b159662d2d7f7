package explain

import (
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// Opens says in a few words what in the policy decides about a command: "uses: locks or
// queues; allow: scripting".
func Opens(c *command.Command) string {
	if c.Barred {
		return Nothing
	}
	return decides(openersOf(c))
}

func decides(o engine.Openers) string {
	var words []string
	if len(o.Uses) > 0 {
		words = append(words, "uses: "+strings.Join(texts(o.Uses), " or "))
	}
	if len(o.Allow) > 0 {
		words = append(words, "allow: "+strings.Join(o.Allow, " or "))
	}
	if len(o.Deny) > 0 {
		words = append(words, "open unless deny has "+strings.Join(o.Deny, " or "))
	}
	if len(words) == 0 {
		return Nothing
	}
	return strings.Join(words, "; ")
}

// Nothing is what Opens says of a command that no policy opens.
const Nothing = "nothing: no policy opens it"

// openersOf is of the newest engine: which words of a policy open a command is the same
// in all that have it.
func openersOf(c *command.Command) engine.Openers {
	return engine.OpenersOf(newestOf(c), c.Name, c.Categories)
}

func newestOf(c *command.Command) engine.Version {
	return engine.Version{Product: productsOf(c)[0], Major: 99} // above every release
}

// productsOf are the engines that have a command in some version.
func productsOf(c *command.Command) []string {
	return slices.DeleteFunc([]string{"redis", "valkey"}, func(product string) bool {
		return c.Since != "" && !strings.Contains(c.Since, product)
	})
}

func texts[T ~string](list []T) (words []string) {
	for _, one := range list {
		words = append(words, string(one))
	}
	return words
}
