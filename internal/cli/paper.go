package cli

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"
)

// paper is what people read: wrapped and with some weight on a terminal, a line for each
// thing where it is piped.
type paper struct {
	w     io.Writer
	bold  bool
	width int // 0: lines aren't broken
}

func newPaper(e *env) *paper {
	p := &paper{w: e.stdout}
	if isTerminal(e.stdout) {
		p.bold, p.width = os.Getenv("NO_COLOR") == "", 80
		if width, _, err := term.GetSize(int(e.stdout.(*os.File).Fd())); err == nil {
			p.width = min(max(width, 40), 110)
		}
	}
	return p
}

func (p *paper) title(text string) {
	if p.bold {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Fprintln(p.w, text)
}

// wrap prints a text behind a lead, broken at spaces where there is a width.
func (p *paper) wrap(lead, text string) {
	line, indent := lead, strings.Repeat(" ", visible(lead))
	for i, word := range strings.Fields(text) {
		word = printable(word)
		if i > 0 && p.width > 0 && visible(line)+1+len(word) > p.width {
			fmt.Fprintln(p.w, line)
			line = indent + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(p.w, line)
}

// visible is how much of a line one sees, without the colours.
func visible(line string) int { return len(colours.ReplaceAllString(line, "")) }

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// printable keeps what a file has from acting on the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}
