package command

// Blocks says whether an XREAD or XREADGROUP waits. args are its arguments
// without the name. BLOCK is an option, not a word: a stream, a group or a
// consumer may be called so too; so the options are walked as the engine
// walks them, up to STREAMS. Whatever can't be told counts as waiting.
func Blocks(args [][]byte) bool {
	for i := 0; i < len(args); i++ {
		switch option := args[i]; {
		case is(option, "STREAMS"):
			return false
		case is(option, "COUNT"):
			i++
		case is(option, "GROUP"):
			i += 2
		case is(option, "NOACK"):
		default: // BLOCK, an option of a newer engine, an error
			return true
		}
	}
	return true
}

// is compares an option's name. strings.EqualFold would also fold letters
// beyond ASCII (K with the Kelvin sign), which engines don't.
func is(arg []byte, name string) bool {
	if len(arg) != len(name) {
		return false
	}
	for i, c := range arg {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}
