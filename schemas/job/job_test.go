package job

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestSecondsKeepTheirNanoseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", time.Second: "1", 200 * time.Millisecond: "0.2", 90 * time.Minute: "5400", 1: "0.000000001",
		365*24*time.Hour + 1: "31536000.000000001",
	} {
		b, err := json.Marshal(Seconds(d))
		if err != nil || string(b) != want {
			t.Errorf("%s is %s on the wire, want %s (%v)", d, b, want, err)
		}
		var again Seconds
		if err := json.Unmarshal(b, &again); err != nil || again.Duration() != d {
			t.Errorf("%s came back as %s, %v", d, again.Duration(), err)
		}
	}
}

func TestBadSeconds(t *testing.T) {
	for _, b := range []string{`-1`, `-0.000000001`, `1e300`, `3153600001`, `"1"`, `[]`, `true`} {
		var s Seconds
		if err := json.Unmarshal([]byte(b), &s); err == nil {
			t.Errorf("%s was taken as %s", b, s.Duration())
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), -1, MaxSeconds + 1} {
		if _, err := SecondsOf(f); err == nil {
			t.Errorf("%v was taken", f)
		}
	}
}

func FuzzSeconds(f *testing.F) {
	for _, s := range []string{"0", "0.2", "1e3", "31536000.000000001", "1E-9", "0.0000000001", "3153600000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Seconds
		if json.Unmarshal([]byte(s), &d) != nil {
			return
		}
		if err := d.Validate(); err != nil {
			t.Fatalf("%s was taken: %v", s, err)
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again Seconds
		if err := json.Unmarshal(b, &again); err != nil || again != d {
			t.Fatalf("%s became %s and then %s, %v", s, b, again.Duration(), err)
		}
	})
}

func TestAPolicySurvivesItsWire(t *testing.T) {
	p := Policy{Attempts: MaxAttempts, Backoff: Backoff{
		Initial: 1, Factor: MaxBackoffFactor, Cap: Seconds(MaxSeconds * time.Second),
	},
		Lease: Seconds(time.Minute), Timeout: Seconds(time.Hour + 1), Retention: Seconds(24 * time.Hour)}
	if err := p.Validate(); err != nil {
		t.Errorf("a policy at its bounds: %v", err)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var again Policy
	if err := json.Unmarshal(b, &again); err != nil || again != p {
		t.Errorf("%s became %+v, %v", b, again, err)
	}
}

func TestPolicyBounds(t *testing.T) {
	good := Policy{
		Attempts: 3, Backoff: Backoff{Initial: Seconds(time.Second), Factor: 2, Cap: Seconds(time.Minute)},
		Lease: Seconds(time.Minute),
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(*Policy){
		"no attempt":                 func(p *Policy) { p.Attempts = 0 },
		"too many attempts":          func(p *Policy) { p.Attempts = MaxAttempts + 1 },
		"a factor that is no number": func(p *Policy) { p.Backoff.Factor = math.NaN() },
		"a negative factor":          func(p *Policy) { p.Backoff.Factor = -1 },
		"a huge factor":              func(p *Policy) { p.Backoff.Factor = MaxBackoffFactor + 1 },
		"a negative cap":             func(p *Policy) { p.Backoff.Cap = -1 },
		"a negative initial":         func(p *Policy) { p.Backoff.Initial = -1 },
		"a negative lease":           func(p *Policy) { p.Lease = -1 },
		"a negative timeout":         func(p *Policy) { p.Timeout = -1 },
		"an endless deadline":        func(p *Policy) { p.Deadline = Seconds(math.MaxInt64) },
		"a negative grace":           func(p *Policy) { p.Grace = -1 },
		"a negative retention":       func(p *Policy) { p.Retention = -1 },
	} {
		p := good
		spoil(&p)
		if p.Validate() == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

func TestTerminalStates(t *testing.T) {
	for _, s := range []State{"", "done", "Pending"} {
		if s.Valid() || s.Terminal() {
			t.Errorf("%q is no state", s)
		}
	}
	for _, s := range States {
		if !s.Valid() {
			t.Errorf("%s is not valid", s)
		}
		want := s == Completed || s == Failed || s == Cancelled
		if s.Terminal() != want {
			t.Errorf("%s terminal: %v", s, s.Terminal())
		}
	}
}
