package processor

import (
	"bytes"
	"flag"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ackwire/ackwire/internal/service"
)

var update = flag.Bool("update", false, "write golden files")

func TestWindow(t *testing.T) {
	var w window
	if _, ok := w.low(); ok {
		t.Error("an unused window has a mark")
	}
	for _, offset := range []int64{5, 6, 9, 10} { // 7 and 8 are gaps
		w.deliver(offset)
	}
	for _, step := range []struct{ mark, low int64 }{{9, 5}, {10, 5}, {5, 6}, {5, 6}, {42, 6}, {6, 11}} {
		w.mark(step.mark)
		if low, _ := w.low(); low != step.low {
			t.Errorf("after %d: low is %d, want %d", step.mark, low, step.low)
		}
	}
}

// In whatever order claims become durable, the committed offset is never above an open one, and in the end all offsets
// are committed.
func TestWindowInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var w window
		open := map[int64]bool{}
		next := int64(0)
		for range 300 {
			if len(open) < 16 && rng.IntN(2) == 0 {
				next += 1 + rng.Int64N(3)
				w.deliver(next)
				open[next] = true
			} else {
				for offset := range open {
					w.mark(offset)
					delete(open, offset)
					break
				}
			}
			low, ok := w.low()
			for offset := range open {
				if ok && low > offset {
					t.Fatalf("committed %d while %d is open", low, offset)
				}
			}
			if ok && len(open) == 0 && low != next+1 {
				t.Fatalf("low is %d with nothing open, want %d", low, next+1)
			}
			if len(w.open) > 16 {
				t.Fatalf("window holds %d offsets", len(w.open))
			}
		}
	}
}

func TestSeenIsBounded(t *testing.T) {
	s := newSeen(8)
	for i := range 1000 {
		if s.meet(id(i)) {
			t.Fatalf("%s was never met", id(i))
		}
		for back := range min(i, 4) {
			if !s.meet(id(i - back)) {
				t.Fatalf("%s forgotten at %d", id(i-back), i)
			}
		}
		if n := len(s.young) + len(s.former); n > 8 {
			t.Fatalf("%d remembered", n)
		}
	}
}

func TestNilErrorsStayNil(t *testing.T) {
	for _, err := range []error{Permanent(nil), RetryAfter(time.Second, nil), WithCode("x", nil)} {
		if err != nil {
			t.Errorf("got %v", err)
		}
	}
}

func quiet() Option { return WithLogger(slog.New(slog.DiscardHandler)) }

// within returns the options that give a processor the logger, metrics and dialer of env.
func within(env service.Env) []Option {
	return []Option{WithLogger(env.Log), WithMetrics(env.Metrics), WithTracerProvider(env.Traces), WithDialer(env.Dial)}
}

func TestConfig(t *testing.T) {
	p, err := New(Config{}, quiet())
	if err != nil {
		t.Fatalf("the zero configuration: %v", err)
	}
	if p.cfg.Slots != 64 || p.cfg.Grace != 10*time.Second || p.names.Prefix != "ackwire." || p.WorkerID() == "" {
		t.Errorf("defaults are %+v", p.cfg)
	}
	bad := Config{
		Brokers: []string{" "}, TopicPrefix: "a b", Partitions: -1,
		Lanes: []string{"A", "x", "x"}, Slots: -1, WorkerID: "two words", ProgressRate: 1e6,
		ResultLimit: 1 << 30, Grace: -1,
	}
	_, err = New(bad, quiet())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, word := range []string{"broker", "prefix", "partitions", `"A"`, "twice", "slots", "worker-id", "progress-rate",
		"result-limit", "grace"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %q", word, err)
		}
	}
}

func TestHandleRefusesMistakes(t *testing.T) {
	p, err := New(Config{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	HandleRaw(p, "a", echo)
	for what, mistake := range map[string]func(){
		"twice":    func() { HandleRaw(p, "a", echo) },
		"no type":  func() { HandleRaw(p, "", echo) },
		"no func":  func() { HandleRaw(p, "b", nil) },
		"too late": func() { p.started = true; HandleRaw(p, "c", echo) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", what)
				}
			}()
			mistake()
		}()
	}
}

// TestMetrics compares the metrics with a golden file, since dashboards depend on them.
func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	newMetrics(r, []string{"default"})
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, f := range families {
		got.WriteString(f.GetName() + " " + strings.ToLower(f.GetType().String()))
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				got.WriteString(" " + l.GetName() + "=" + l.GetValue())
			}
		}
		got.WriteByte('\n')
	}
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
