package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type part struct {
	Peer  string `json:"peer" label:"peer"`
	Count int    `json:"count" metric:"redoubt_things" help:"Things that there are."`
}

type told struct {
	Name  string        `json:"name" label:"name"`
	Since time.Time     `json:"since" metric:"redoubt_since_seconds" help:"Since when."`
	Took  time.Duration `json:"took" metric:"redoubt_took_seconds" help:"How long."`
	Done  int64         `json:"done" metric:"redoubt_done_total" help:"What was done."`
	Good  bool          `json:"good" metric:"redoubt_good" help:"1 if good."`
	Parts []part        `json:"parts"`
	None  *part         `json:"none,omitempty"`
	Text  string        `json:"text"`
}

func example() Report {
	return Report{Ready: true, Problems: []string{"one"}, Facts: &told{
		Name: "a \"b\"\\\nc", Since: time.Unix(1700000000, 5e8), Took: 1500 * time.Millisecond, Done: 7, Good: true,
		Parts: []part{{"x", 1}, {"y", 2}}, Text: "not a metric",
	}}
}

// serve runs a server until the test ends.
func serve(t *testing.T, s *Server) {
	t.Helper()
	s.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(s.Socket); err == nil {
			t.Error("the socket is left")
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
}

func TestAProcessTellsWhoMayAsk(t *testing.T) {
	socket := filepath.Join(t.TempDir(), strings.Repeat("long", 40), "admin.sock") // longer than an address
	serve(t, &Server{Socket: socket, Report: func(context.Context) Report { return example() }})
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	got, err := Ask(t.Context(), socket, new(told))
	want := example()
	if err != nil || !got.Ready || got.PID != os.Getpid() || !reflect.DeepEqual(got.Problems, want.Problems) {
		t.Fatalf("%+v %v", got, err)
	}
	f, w := *got.Facts.(*told), *want.Facts.(*told)
	if !f.Since.Equal(w.Since) {
		t.Errorf("since %v", f.Since)
	}
	f.Since = w.Since
	if !reflect.DeepEqual(f, w) {
		t.Errorf("%+v, want %+v", f, w)
	}
}

func TestNobodyThereIsSaid(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for _, socket := range []string{stale, filepath.Join(dir, "none.sock")} {
		if _, err := Ask(t.Context(), socket, new(told)); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v", socket, err)
		}
	}
	// Who died in its place is replaced.
	serve(t, &Server{Socket: stale, Report: func(context.Context) Report { return example() }})
	if _, err := Ask(t.Context(), stale, new(told)); err != nil {
		t.Error(err)
	}
	// Who lives is not, and nor is what is no socket.
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []string{stale, file} {
		s := &Server{Socket: taken, Log: slog.New(slog.DiscardHandler)}
		if err := s.Run(t.Context(), func() { t.Error("ready") }); err == nil || !strings.Contains(err.Error(), taken) {
			t.Errorf("%s: %v", taken, err)
		}
	}
}

// TestAnOrderMayTakeLongerThanAnAnswer, and whoever gave it is still there for it then.
func TestAnOrderMayTakeLongerThanAnAnswer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	serve(t, &Server{Socket: socket, Report: func(context.Context) Report { return example() }, Orders: map[string]func(*http.Request) (any, error){
		"/slow": func(r *http.Request) (any, error) {
			late := time.NewTimer(answerWithin + time.Second)
			defer late.Stop()
			select {
			case <-late.C:
				return "done", nil
			case <-r.Context().Done():
				return "", errors.New("nobody waits for it")
			}
		},
		"/never": func(*http.Request) (any, error) { return nil, errors.New("it can't be done") },
	}})
	var said string
	if err := Order(t.Context(), socket, "/slow", &said); err != nil || said != "done" {
		t.Errorf("%q, %v", said, err)
	}
	if err := Order(t.Context(), socket, "/never", &said); err == nil || !strings.Contains(err.Error(), "it can't be done") {
		t.Error(err)
	}
	if err := Call(t.Context(), socket, http.MethodGet, "/slow", &said); err == nil || !strings.Contains(err.Error(), "405") {
		t.Errorf("an order is no question: %v", err)
	}
}

// TestMonitoringSeesNoMoreThanItNeeds: the TCP port has no /status, nothing can
// be changed through it, and readiness is told by the code.
func TestMonitoringSeesNoMoreThanItNeeds(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	report := example()
	serve(t, &Server{Socket: filepath.Join(t.TempDir(), "s"), Metrics: address, Report: func(context.Context) Report { return report }})
	ask := func(method, path string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	for path, want := range map[string]int{"/metrics": 200, "/livez": 200, "/readyz": 200, "/status": 404, "/": 404, "/debug/pprof/": 404} {
		if code, _ := ask("GET", path); code != want {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if code, _ := ask(method, "/metrics"); code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, code)
		}
	}
	report.Ready = false
	if code, _ := ask("GET", "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("not ready: %d", code)
	}
	if code, _ := ask("GET", "/livez"); code != 200 {
		t.Errorf("not ready is not dead: %d", code)
	}
}

func TestMetricsAreWhatTheStructsSay(t *testing.T) {
	const want = `# HELP redoubt_ready 1 if the process can serve.
# TYPE redoubt_ready gauge
redoubt_ready 1
# HELP redoubt_problems What redoubt status shows as problems.
# TYPE redoubt_problems gauge
redoubt_problems 1
# HELP redoubt_since_seconds Since when.
# TYPE redoubt_since_seconds gauge
redoubt_since_seconds{name="a \"b\"\\\nc"} 1700000000.5
# HELP redoubt_took_seconds How long.
# TYPE redoubt_took_seconds gauge
redoubt_took_seconds{name="a \"b\"\\\nc"} 1.5
# HELP redoubt_done_total What was done.
# TYPE redoubt_done_total counter
redoubt_done_total{name="a \"b\"\\\nc"} 7
# HELP redoubt_good 1 if good.
# TYPE redoubt_good gauge
redoubt_good{name="a \"b\"\\\nc"} 1
# HELP redoubt_things Things that there are.
# TYPE redoubt_things gauge
redoubt_things{name="a \"b\"\\\nc",peer="x"} 1
redoubt_things{name="a \"b\"\\\nc",peer="y"} 2
`
	if got := string(AppendMetrics(nil, example())); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	names := ""
	for _, d := range Describe(reflect.TypeFor[told]()) {
		names += d.Name + " " + d.Kind + "\n"
	}
	if names != "redoubt_done_total counter\nredoubt_good gauge\nredoubt_since_seconds gauge\nredoubt_things gauge\nredoubt_took_seconds gauge\n" {
		t.Errorf("described: %s", names)
	}
}

// TestPrometheusReadsTheMetrics by the reference parser of its Python client.
func TestPrometheusReadsTheMetrics(t *testing.T) {
	const program = `
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for s in family.samples:
        print(family.type, s.name, sorted(s.labels.items()), s.value)
`
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", program)
	cmd.Stdin = strings.NewReader(string(AppendMetrics(nil, example())))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`counter redoubt_done_total [('name', 'a "b"\\\nc')] 7.0`,
		`gauge redoubt_things [('name', 'a "b"\\\nc'), ('peer', 'y')] 2.0`,
		`gauge redoubt_since_seconds [('name', 'a "b"\\\nc')] 1700000000.5`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}
