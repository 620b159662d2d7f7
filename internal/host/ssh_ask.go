package host

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// sshAtOnce is how many questions wait for their answers at a time.
const sshAtOnce = 4

// SSH is what the ssh servers of this host would do for everybody who could come.
type SSH struct {
	Answers []SSHAnswer
	Asked   []string // what was asked about, for people
	Unasked []string // what was not, and why: it may be otherwise there
}

// A SSHAnswer is what one of them would do for one connection.
type SSHAnswer struct {
	Who      string
	Settings map[string]string // each keyword, in lower case, with its values

	connection sshConnection
	files      *sshFiles
	people     people
}

// AskSSH asks sshd, by its own reading of its files and of what it was started with,
// about every account that can log in, and about a connection for each way in which
// the Match blocks of its files can hold together: made of users and groups, of
// addresses of the bastions, this host and the patterns, and of ports. ErrNoSSHD: there
// is none.
func AskSSH(ctx context.Context, bastions []netip.Prefix) (*SSH, error) {
	servers, err := sshdsHere(ctx)
	if err != nil {
		return nil, err
	}
	people, err := knownPeople()
	if err != nil {
		return nil, err
	}
	s := new(SSH)
	for _, server := range servers {
		if err := s.askAll(ctx, server, bastions, people); err != nil {
			return nil, fmt.Errorf("%s: %w", server.by, err)
		}
	}
	return s, nil
}

func (s *SSH) askAll(ctx context.Context, server sshServer, bastions []netip.Prefix, people people) error {
	files := readSSHFiles(server.args)
	for _, lacking := range files.lack {
		s.unasked("not read: %s", lacking)
	}
	general, err := server.ask(ctx, anybody)
	if err != nil {
		return err
	}
	q := newSSHQuestions(files, general, server.ports, bastions, people)
	q.add(q.usual())
	for _, block := range files.blocks {
		q.applyTo(block, s)
	}
	left := q.all()
	if left > 0 {
		s.unasked("%d further connections that the Match blocks of %s tell apart", left, server.by)
	}
	unanswered := 0
	take := func(i int, settings map[string]string, err error) error {
		switch {
		case err == nil:
			s.Answers = append(s.Answers, SSHAnswer{Who: q.list[i].String(), Settings: settings, connection: q.list[i], files: files, people: people})
		case ctx.Err() != nil:
			unanswered++
		default:
			return err
		}
		return nil
	}
	if err := askEach(ctx, server, q.list, take); err != nil {
		return err
	}
	if unanswered > 0 {
		s.unasked("%d of %d connections, since the time was over", unanswered, len(q.list))
	}
	s.Asked = append(s.Asked, fmt.Sprintf("%s: %d connections, %d Match blocks", server.by, len(q.list)-unanswered, len(files.blocks)))
	for facet, what := range []string{"users", "host names", "from", "to", "ports", "routing domains"} {
		if values := q.values(sshFacet(facet)); len(values) > 0 {
			s.Asked = append(s.Asked, fmt.Sprintf("%s: %s", what, strings.Join(values, " ")))
		}
	}
	return nil
}

// askEach asks about some connections at a time, and hands on the answers in order.
// Each sshd is started by the caller's own thread, whose view of the files may be one
// of its own.
func askEach(ctx context.Context, server sshServer, list []sshConnection, take func(i int, settings map[string]string, err error) error) error {
	waiting := make([]func() (map[string]string, error), len(list))
	for i := range len(list) + sshAtOnce {
		if i < len(list) {
			waiting[i] = server.start(ctx, list[i])
		}
		if at := i - sshAtOnce; at >= 0 {
			settings, err := waiting[at]()
			if err := take(at, settings, err); err != nil {
				for _, wait := range waiting[at+1 : min(i+1, len(list))] {
					wait()
				}
				return err
			}
		}
	}
	return nil
}

func (s *SSH) unasked(format string, args ...any) {
	s.Unasked = append(s.Unasked, fmt.Sprintf(format, args...))
}
