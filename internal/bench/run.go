package bench

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// ErrNoEngine says that there is nothing to compare with.
var ErrNoEngine = errors.New("no engine")

// Options says what to measure.
type Options struct {
	Self     string   // Redoubt's binary, for the peer "redoubt"
	Engine   string   // redis-server or valkey-server; "" finds one
	Loads    []Load   // none: Loads
	Peers    []string // see ValidPeers; none: all that are installed
	Warmup   time.Duration
	Duration time.Duration // of each run
	Rounds   int
	Progress func(Step) // called before each run and after the last; may be nil
}

// Step is a run that is about to begin.
type Step struct {
	Done, Total int // runs
	Load        Load
	Peer        string
	Round       int
}

// candidate is a peer that runs.
type candidate struct {
	name   string
	target target
}

// Run starts the peers that are installed, measures, and stops them. Ending ctx
// ends it early, with ctx's error.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if err := ValidPeers(o.Peers); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if len(o.Loads) == 0 {
		o.Loads = Loads()
	}
	if o.Duration <= 0 || o.Rounds < 1 {
		return nil, errors.New("bench: a duration and at least one round are needed")
	}
	if o.Progress == nil {
		o.Progress = func(Step) {}
	}
	raiseFileLimit()
	if o.Engine == "" {
		if o.Engine, err = find(peers()[0].program); err != nil {
			return nil, fmt.Errorf("bench: %w: %w (apt-get install redis-server, or name one with --engine)", ErrNoEngine, err)
		}
	}
	s, err := newSite(o.Self, o.Engine)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	report := &Report{Host: thisHost(), Started: time.Now().UTC(), Warmup: o.Warmup, Duration: o.Duration, Rounds: o.Rounds}
	candidates, err := s.startAll(ctx, chosenPeers(o.Peers), report)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := runner{o: o, site: s, candidates: candidates, total: o.runs(candidates)}
	for _, l := range o.Loads {
		result, err := r.load(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		report.Loads = append(report.Loads, *result)
	}
	o.Progress(Step{Done: r.done, Total: r.total})
	return report, nil
}

// Measure puts one load on a server of the caller's, at an address where Redis is
// spoken without TLS. It is for figures that Run's peers can't give.
func Measure(ctx context.Context, address, password string, l Load, warmup, duration time.Duration) (RunResult, error) {
	raiseFileLimit()
	before := readCPUTime()
	recorder, err := measure(ctx, target{address: address, password: password}, l, warmup, duration)
	if err != nil {
		return RunResult{}, fmt.Errorf("bench: %w", err)
	}
	result := newRun(1, recorder, duration)
	result.Foreign = readCPUTime().foreignSince(before)
	return result, nil
}

// raiseFileLimit gives the children, and us, room for connections: programs
// that derive their limits from it (stunnel) would refuse the 500 of c500.
func raiseFileLimit() {
	const enough = 16384
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return // then the peers say what they lack
	}
	limit.Cur = min(max(limit.Cur, enough), limit.Max)
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// startAll starts every peer that is installed, and notes the others.
func (s *site) startAll(ctx context.Context, chosen []peer, report *Report) ([]candidate, error) {
	var running []candidate
	for _, p := range chosen {
		program, version, err := s.programOf(ctx, p)
		var t target
		if err == nil {
			t, err = p.start(ctx, s, program)
		}
		entry := PeerReport{Name: p.name, Title: p.title, Version: version}
		var absent absentError
		switch {
		case errors.As(err, &absent):
			entry.Absent = absent.Error()
		case err != nil:
			return nil, fmt.Errorf("start %s: %w", p.title, err)
		default:
			running = append(running, candidate{p.name, t})
		}
		report.Peers = append(report.Peers, entry)
	}
	return running, nil
}

// programOf finds a peer's program and its version.
func (s *site) programOf(ctx context.Context, p peer) (program, version string, err error) {
	switch p.name {
	case "redoubt":
		return s.self, "", nil // the report is printed by the same binary
	case plainName, "native":
		program = s.engine
	default:
		if program, err = find(p.program); err != nil {
			return "", "", err
		}
	}
	return program, versionOf(ctx, program, p.version), nil
}

// runner goes through the runs.
type runner struct {
	o           Options
	site        *site
	candidates  []candidate // plain first
	done, total int
}

// load measures one load: in each round, every candidate after a plain run of
// its own.
func (r *runner) load(ctx context.Context, l Load) (*LoadReport, error) {
	candidates := under(l, r.candidates)
	result := &LoadReport{Load: l, Results: make([]PeerResult, len(candidates))}
	for i, c := range candidates {
		result.Results[i].Peer = c.name
	}
	for round := 1; round <= r.o.Rounds; round++ {
		for i := range max(1, len(candidates)-1) {
			plain, err := r.run(ctx, l, round, candidates[0], &result.Results[0])
			if err != nil {
				return nil, err
			}
			if i+1 == len(candidates) {
				break
			}
			into := &result.Results[i+1]
			rate, err := r.run(ctx, l, round, candidates[i+1], into)
			if err != nil {
				return nil, err
			}
			into.Runs[len(into.Runs)-1].Ratio = rate / plain
		}
	}
	for i := range result.Results {
		result.Results[i].summarise()
	}
	return result, nil
}

// under are the candidates that a load can be put on, plain first.
func under(l Load, candidates []candidate) (able []candidate) {
	for _, c := range candidates {
		if c.target.byUnix = l.Unix; !l.Unix || c.target.unix != "" {
			able = append(able, c)
		}
	}
	return able
}

// runs is how many there will be.
func (o *Options) runs(candidates []candidate) (n int) {
	for _, l := range o.Loads {
		n += o.Rounds * max(1, 2*(len(under(l, candidates))-1))
	}
	return n
}

// run is one run of one peer; it returns its rate.
func (r *runner) run(ctx context.Context, l Load, round int, c candidate, into *PeerResult) (float64, error) {
	r.o.Progress(Step{Done: r.done, Total: r.total, Load: l, Peer: c.name, Round: round})
	before := readCPUTime()
	recorder, err := measure(ctx, c.target, l, r.o.Warmup, r.o.Duration)
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if dead := r.site.dead(deathTimeout); dead != nil {
			err = dead
		}
		return 0, fmt.Errorf("%s under the load %s: %w", c.name, l.Name, err)
	}
	r.done++
	result := newRun(round, recorder, r.o.Duration)
	result.Foreign = readCPUTime().foreignSince(before)
	into.Runs = append(into.Runs, result)
	return result.Rate, nil
}
