package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// sshd's files are read here only to find who must be asked about, and to say where
// something stands. What they mean is asked of sshd.

// Bounds of what is read. sshd itself ends at 16 files within each other.
const (
	sshFileSize  = 1 << 20
	sshFileDepth = 16
	sshMaxLines  = 50000
)

// sshFiles are an sshd's settings, in the order in which it reads them.
type sshFiles struct {
	lines  []sshLine
	blocks []*sshBlock
	lack   []string // what could not be read
	dropIn int      // where in lines SSHDropIn begins, or would; -1: it isn't read
}

type sshLine struct {
	at      string // FILE:LINE
	keyword string // in lower case
	value   string
	in      *sshBlock // nil: for everybody
}

// A sshBlock is a Match.
type sshBlock struct {
	at       string
	criteria []sshCriterion // all must hold; of the blocks around it too
}

// readSSHFiles reads the files of an sshd with these arguments.
func readSSHFiles(args []string) *sshFiles {
	f, path := &sshFiles{dropIn: -1}, "/etc/ssh/sshd_config"
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "-f":
			path = args[i+1]
		case "-o":
			keyword, rest := sshKeyword(args[i+1])
			f.lines = append(f.lines, sshLine{at: "sshd's argument -o " + args[i+1], keyword: keyword, value: rest})
		}
	}
	f.read(path, nil, 0)
	return f
}

func (f *sshFiles) read(path string, in *sshBlock, depth int) {
	if depth > sshFileDepth || len(f.lines) > sshMaxLines {
		f.lack = append(f.lack, path+": too many files within each other, or too many lines")
		return
	}
	text, err := regular.Read(path, sshFileSize)
	if err != nil {
		f.lack = append(f.lack, err.Error())
		return
	}
	f.parse(path, string(text), in, depth)
}

// include reads a file within another one, and marks where the drop-in is, or would be.
func (f *sshFiles) include(path string, in *sshBlock, depth int) {
	if path == SSHDropInPath && in == nil && f.dropIn < 0 {
		f.dropIn = len(f.lines)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	f.read(path, in, depth+1)
}

// parse goes through a file. in is the block that it is included in.
func (f *sshFiles) parse(path, text string, in *sshBlock, depth int) {
	around, number := in, 0
	for line := range strings.Lines(text) {
		number++
		at := fmt.Sprintf("%s:%d", path, number)
		keyword, rest := sshKeyword(line)
		switch keyword {
		case "":
		case "match":
			in = &sshBlock{at: at, criteria: sshCriteria(rest)}
			if around != nil {
				in.criteria = slices.Concat(around.criteria, in.criteria)
			}
			f.blocks = append(f.blocks, in)
		case "include":
			for _, pattern := range sshWords(rest) {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join("/etc/ssh", pattern)
				}
				files, err := filepath.Glob(pattern)
				if err != nil {
					f.lack = append(f.lack, fmt.Sprintf("%s: %v", at, err))
				}
				if ours, _ := filepath.Match(pattern, SSHDropInPath); ours && in == nil && !slices.Contains(files, SSHDropInPath) {
					files = append(files, SSHDropInPath)
					slices.Sort(files)
				}
				for _, file := range files {
					f.include(file, in, depth)
				}
			}
		default:
			f.lines = append(f.lines, sshLine{at, keyword, rest, in})
		}
	}
}

// sshKeyword takes a line apart: keyword and values stand apart by blanks or a =
// (strdelim of OpenSSH's misc.c).
func sshKeyword(line string) (keyword, rest string) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") {
		return "", ""
	}
	end := strings.IndexAny(line, " \t=\"\r\f")
	if end < 0 {
		end = len(line)
	}
	keyword, rest = strings.ToLower(line[:end]), strings.TrimLeft(line[end:], " \t\r\f")
	if after, ok := strings.CutPrefix(rest, "="); ok {
		rest = strings.TrimLeft(after, " \t\r\f")
	}
	if other, ok := sshNames[keyword]; ok {
		keyword = other
	}
	return keyword, rest
}

// sshNames are older names of keywords, by which sshd answers no more.
var sshNames = map[string]string{
	"challengeresponseauthentication": "kbdinteractiveauthentication", "skeyauthentication": "kbdinteractiveauthentication",
	"pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
}

// sshWords takes values apart, until a comment: at blanks that don't stand in quotes.
func sshWords(text string) (words []string) {
	var word strings.Builder
	begun, quote := false, rune(0)
	flush := func() {
		if begun {
			words = append(words, word.String())
			word.Reset()
			begun = false
		}
	}
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case quote == 0 && strings.ContainsRune(" \t\r\n\f", r):
			flush()
		case quote == 0 && r == '#' && !begun:
			return words
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	flush()
	return words
}

// where says which line gives a connection the value of a keyword: the first of a block
// that holds for it, else the first outside of blocks (sshd_config(5)); -1: none.
func (f *sshFiles) where(c sshConnection, groups map[string][]string, keyword string) int {
	global := -1
	for i, line := range f.lines {
		switch {
		case line.keyword != keyword:
		case line.in == nil && global < 0:
			global = i
		case line.in != nil && line.in.holds(c, groups):
			return i
		}
	}
	return global
}
