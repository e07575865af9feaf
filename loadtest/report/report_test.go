package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

func summary(p50, p99 float64, count int64) measure.Summary {
	s := measure.Summary{Count: count, Mean: p50, P50: p50, P90: p50 * 2, P99: p99, P999: p99, Max: p99}
	for range measure.Percentiles {
		s.Curve = append(s.Curve, p50)
	}
	return s
}

// example is a run with something of everything.
func example() *measure.Result {
	return &measure.Result{
		Format: measure.ResultFormat, Scenario: "spike", About: `a <b>"crowd"</b>`, Seconds: 20, URLs: []string{
			"http://gateway:8080"}, Sockets: 300, Tenants: 1, Rate: 330,
		Counts: measure.Counts{
			Arrivals: 6600, Acked: 6590, Refused: 10, Completed: 6500, Failed: 90, Unexpected: 1, Connects: 301,
			Losses: 1,
		},
		Latencies: map[measure.Series]measure.Summary{
			measure.Ack: summary(3, 45, 6590), measure.End: summary(5, 1250, 6500),
			measure.Lag: summary(0.1, 0.4, 6590),
		},
		Jobs: []measure.JobResult{
			{
				Name: "echo", Type: "demo.echo", Acked: 6590, Ended: map[string]int64{"completed": 6500, "failed": 90},
				Unexpected: 1, Ack: summary(3, 45, 6590), End: summary(5, 1250, 6500),
			},
		},
		Phases: []measure.PhaseResult{
			{Name: "before", Seconds: 10, From: 60, To: 60, Arrivals: 600, Ack: summary(3, 9, 600), End: summary(4, 20, 600)},
			{
				Name: "spike", Begin: 10, Seconds: 10, From: 60, To: 1140, Measured: true, Arrivals: 6000, Refused: 10,
				Ack: summary(3, 45, 5990), End: summary(5, 1250, 5900),
			}},
		Errors: map[string]int64{"submit: overloaded": 10}, Losses: map[string]int64{"connection lost": 1}, Interval: 5,
		Timeline: []measure.Point{
			{
				At: 5, Phase: "before", Arrivals: 60, Acked: 60, Ended: 60, Sockets: 300, AckP50: 3, AckP99: 9,
				LagMax: 0.3, CPU: 0.1, Busy: 0.3,
			},
			{At: 10, Phase: "before", Sockets: 300, Busy: -1},
			{
				At: 15, Phase: "spike", Arrivals: 600, Acked: 598, Ended: 590, Errors: 2, Sockets: 299, AckP50: 4,
				AckP99: 45, LagMax: 4, CPU: 0.9, Busy: 0.95,
			},
			{
				At: 20, Phase: "spike", Arrivals: 600, Acked: 600, Ended: 600, Sockets: 300, AckP50: 4, AckP99: 41,
				LagMax: 2, CPU: 0.9, Busy: 0.94,
			},
		},
		Machine: measure.Machine{
			Cores: 2, Go: "go1.26", OS: "linux/amd64",
			Findings: []string{"Nothing on the generator's side limited this run."},
		},
		Verdict: &history.Verdict{Scenario: "spike", Complete: true, Acked: 6590, Ended: 6590, Found: 1,
			Violations: []history.Violation{{
				Invariant: history.Delivery, Job: "<script>alert(1)</script>", Client: 7, What: "version 2 came after version 3",
				Records: []history.Record{
					{At: 1_500_000, Kind: history.Status, Client: 7, Conn: 1, Version: 3, State: "completed"},
				},
			}}},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed (go test -update, and look at the difference):\n%s", name, got)
	}
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	if err := Print(&out, example()); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.golden", out.String())
}

// The page needs no network, and nothing that came from elsewhere becomes markup.
func TestHTMLIsOneFile(t *testing.T) {
	var out bytes.Buffer
	if err := HTML(&out, example()); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, forbidden := range []string{"<script", "<link", "@import", "url(", "src=", "href=", "<b>\"crowd\""} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page has %s", forbidden)
		}
	}
	for _, wanted := range []string{"1 violations", "I3 VIOLATED 1 times", "I1 holds", "client 7",
		"1.500000s status client 7 socket 1 version 3 completed",
		"&lt;script&gt;", "submit → ack", "45 ms", "1.25 s", "submit: overloaded", "connection lost",
		"Nothing on the generator"} {
		if !strings.Contains(page, wanted) {
			t.Errorf("the page lacks %q", wanted)
		}
	}
	if n := strings.Count(page, "<svg "); n != 8 {
		t.Errorf("%d charts", n)
	}
}

// A run of which nothing was measured still has a page.
func TestHTMLOfNothing(t *testing.T) {
	var out bytes.Buffer
	if err := HTML(&out, &measure.Result{Scenario: "none", BrokenOff: true, Verdict: &history.Verdict{}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "The run was broken off") || strings.Contains(out.String(), "NaN") {
		t.Error(out.String())
	}
}

var points = regexp.MustCompile(`points="([^"]*)"`)

func TestChartDrawsGapsAndScales(t *testing.T) {
	nan := math.NaN()
	c := chart{
		Title: "a<b", Unit: "ms", X: []string{"0", "1", "2", "3", "4"},
		Lines: []line{{Name: "l", Values: []float64{0, 5, nan, 10, 10}}},
	}
	svg := string(c.SVG())
	if n := len(points.FindAllString(svg, -1)); n != 2 {
		t.Errorf("%d pieces, want 2: a gap parts them", n)
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "a<b") {
		t.Error(svg)
	}
	a := c.axis()
	if a.low != 0 || a.high < 10 || len(a.ticks) < 3 {
		t.Errorf("%+v", a)
	}
	top, _ := a.y(a.high)
	bottom, _ := a.y(0)
	if top != marginTop || bottom != marginTop+plotHeight {
		t.Errorf("%v to %v", top, bottom)
	}
	c.Log = true
	c.Lines[0].Values = []float64{0.5, 0, 200}
	if a := c.axis(); a.low != 0.1 || a.high != 1000 || len(a.ticks) != 5 {
		t.Errorf("%+v", a)
	}
	if _, ok := c.axis().y(0); ok {
		t.Error("0 has a place on a logarithmic axis")
	}
}

func TestCompare(t *testing.T) {
	a, b := example(), example()
	b.Verdict = &history.Verdict{}
	same := Compare(a, b, 1.2)
	if same.Worse || len(same.Warnings) != 0 {
		t.Errorf("two like runs: %+v", same)
	}
	for name, c := range map[string]struct {
		change func(*measure.Result)
		worse  string // the row; "" none
	}{
		"p50 doubles": {
			func(r *measure.Result) { r.Latencies[measure.Ack] = summary(6, 45, 6590) }, "submit → ack, p50",
		},
		"p99 doubles": {
			func(r *measure.Result) { r.Latencies[measure.End] = summary(5, 2500, 6590) }, "submit → end, p99",
		},
		"within the threshold":    {func(r *measure.Result) { r.Latencies[measure.End] = summary(5, 1450, 6590) }, ""},
		"better":                  {func(r *measure.Result) { r.Latencies[measure.Ack] = summary(1, 5, 6590) }, ""},
		"twice of nearly nothing": {func(r *measure.Result) { r.Latencies[measure.Lag] = summary(0.2, 0.8, 6590) }, ""},
		"a p99 of few values":     {func(r *measure.Result) { r.Latencies[measure.Ack] = summary(3, 900, 50) }, ""},
		"refusals":                {func(r *measure.Result) { r.Counts.Refused = 100 }, "refused"},
		"an outcome that was not meant": {
			func(r *measure.Result) { r.Counts.Unexpected = 500 }, "ended otherwise than expected",
		},
		"sockets":     {func(r *measure.Result) { r.Counts.Losses = 2 }, "sockets lost"},
		"a violation": {func(r *measure.Result) { r.Verdict.Found = 3 }, "violations"},
	} {
		a, b := example(), example()
		c.change(b)
		got := Compare(a, b, 1.2)
		var worse []string
		for _, r := range got.Rows {
			if r.Worse {
				worse = append(worse, r.Name)
			}
		}
		if strings.Join(worse, ", ") != c.worse || got.Worse != (c.worse != "") {
			t.Errorf("%s: worse are %q, want %q", name, worse, c.worse)
		}
		var out bytes.Buffer
		if err := got.Print(&out); err != nil || strings.Contains(out.String(), "WORSE") != got.Worse {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}

func TestCompareSaysWhyTwoRunsDiffer(t *testing.T) {
	b := example()
	b.Scenario = "ramp"
	b.Rate = 100
	b.Sockets = 1
	b.Embedded = true
	b.BrokenOff = true
	b.Machine.Limited = true
	if got := Compare(example(), b, 1.2); len(got.Warnings) != 6 {
		t.Errorf("%q", got.Warnings)
	}
}

func TestReadResult(t *testing.T) {
	b, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "report.json")
	for content, want := range map[string]string{string(b): "", `{"format":9}`: "format 9", "no": "invalid"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := ReadResult(name)
		if want == "" && (err != nil || r.Counts.Acked != 6590) ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v", err)
		}
	}
}
