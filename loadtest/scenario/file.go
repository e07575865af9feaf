package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/ackwire/ackwire/loadtest/scenarios"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/job"
)

// file is the content of the YAML file. Numbers are kept as text, so that an error can name their line.
type file struct {
	Name          string  `yaml:"name"`
	About         string  `yaml:"about"`
	Sockets       text    `yaml:"sockets"`
	ConnectOver   text    `yaml:"connectOver"`
	Tenants       text    `yaml:"tenants"`
	Slow          *slow   `yaml:"slow"`
	Mine          text    `yaml:"mine"`
	Arrivals      string  `yaml:"arrivals"`
	Seed          text    `yaml:"seed"`
	Jobs          []jobs  `yaml:"jobs"`
	Phases        []phase `yaml:"phases"`
	EndsWithin    text    `yaml:"endsWithin"`
	DeliverWithin text    `yaml:"deliverWithin"`
}

type slow struct {
	Sockets        text `yaml:"sockets"`
	BytesPerSecond text `yaml:"bytesPerSecond"`
}

type jobs struct {
	Name     string `yaml:"name"`
	Job      string `yaml:"job"`
	Payload  any    `yaml:"payload"`
	Weight   text   `yaml:"weight"`
	Watchers text   `yaml:"watchers"`
	Watch    *bool  `yaml:"watch"`
	Key      bool   `yaml:"key"`
	Get      text   `yaml:"get"`
	Stream   text   `yaml:"stream"`
	Output   text   `yaml:"output"`
	Ends     string `yaml:"ends"`
}

type phase struct {
	Name      string     `yaml:"name"`
	Duration  text       `yaml:"duration"`
	Rate      text       `yaml:"rate"`
	Measured  *bool      `yaml:"measured"`
	Reconnect *reconnect `yaml:"reconnect"`
}

type reconnect struct {
	At    text `yaml:"at"`
	Share text `yaml:"share"`
	Over  text `yaml:"over"`
}

// text is a scalar as it was written.
type text string

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (t *text) UnmarshalYAML(b []byte) error {
	*t = text(strings.Trim(strings.TrimSpace(string(b)), `"'`))
	return nil
}

// Load reads a scenario from a file, or a built-in one by its name. The error lists every problem with its line.
func Load(name string) (*Scenario, error) {
	if shipped, err := scenarios.Read(name); err == nil {
		return Parse(name+".yaml", shipped)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w (shipped are %s)", err, strings.Join(scenarios.Names(), ", "))
	}
	return Parse(name, b)
}

// Parse reads a scenario from a file's content; name is for messages.
func Parse(name string, b []byte) (*Scenario, error) {
	var f file
	if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false))))
	}
	tree, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, doc := range tree.Docs[min(1, len(tree.Docs)):] {
		if doc.Body != nil {
			return nil, fmt.Errorf("%s:%d: a second YAML document, which would not be read", name,
				doc.Body.GetToken().Position.Line)
		}
	}
	r := reader{name: name, tree: tree}
	s := r.scenario(&f)
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b problem) int { return a.line - b.line })
		errs := make([]error, len(r.problems))
		for i, p := range r.problems {
			errs[i] = fmt.Errorf("%s:%d: %s", name, p.line, p.text)
		}
		return nil, errors.Join(errs...)
	}
	return s, nil
}

type problem struct {
	line int
	text string
}

// reader makes a scenario of a file and collects the file's problems.
type reader struct {
	name     string
	tree     *ast.File
	problems []problem
}

func (r *reader) bad(path, format string, args ...any) {
	r.problems = append(r.problems, problem{r.line(path), path + ": " + fmt.Sprintf(format, args...)})
}

// line returns the line of a path, or of the nearest part of it that the file has.
func (r *reader) line(path string) int {
	for p := "$." + path; ; {
		if parsed, err := yaml.PathString(p); err == nil {
			if node, err := parsed.FilterFile(r.tree); err == nil && node != nil && node.GetToken() != nil {
				return node.GetToken().Position.Line
			}
		}
		cut := strings.LastIndexAny(p, ".[")
		if cut <= 1 {
			return 1
		}
		p = p[:cut]
	}
}

func number[T int | float64](r *reader, path string, t text, otherwise, low, high T) T {
	if t == "" {
		return otherwise
	}
	f, err := strconv.ParseFloat(string(t), 64)
	v := T(f)
	if err != nil || float64(v) != f {
		r.bad(path, "%q is not a number of the right kind", t)
		return otherwise
	}
	if v < low || v > high {
		r.bad(path, "must be %v to %v, not %v", low, high, v)
	}
	return v
}

func (r *reader) duration(path string, t text, otherwise, low, high time.Duration) time.Duration {
	if t == "" {
		return otherwise
	}
	d, err := time.ParseDuration(string(t))
	if f, ferr := strconv.ParseFloat(string(t), 64); ferr == nil {
		var s job.Seconds
		s, err = job.SecondsOf(f)
		d = s.Duration()
	}
	switch {
	case err != nil:
		r.bad(path, "%q is not a duration such as 30s, 5m or 2h, nor a number of seconds", t)
	case d < low || d > high:
		r.bad(path, "must be %v to %v, not %v", low, high, d)
	}
	return d
}

// share parses a share, written as 0.5 or 50%.
func (r *reader) share(path string, t text, otherwise float64) float64 {
	if percent, ok := strings.CutSuffix(string(t), "%"); ok {
		return number(r, path, text(strings.TrimSpace(percent)), 100*otherwise, 0, 100.0) / 100
	}
	return number(r, path, t, otherwise, 0, 1.0)
}

// rate parses a rate, written as 50 or 50..500.
func (r *reader) rate(path string, t text) (from, to float64) {
	low, high, ramp := strings.Cut(string(t), "..")
	if from = number(r, path, text(strings.TrimSpace(low)), 0, 0, float64(MaxRate)); !ramp {
		return from, from
	}
	return from, number(r, path, text(strings.TrimSpace(high)), 0, 0, float64(MaxRate))
}

func (r *reader) scenario(f *file) *Scenario {
	s := &Scenario{
		Name: f.Name, About: strings.TrimSpace(f.About),
		Sockets:       number(r, "sockets", f.Sockets, 1, 1, MaxSockets),
		ConnectOver:   r.duration("connectOver", f.ConnectOver, defaultConnectOver, 0, time.Hour),
		Tenants:       number(r, "tenants", f.Tenants, 1, 1, MaxTenants),
		Mine:          r.share("mine", f.Mine, 0),
		Seed:          uint64(number(r, "seed", f.Seed, 1, 0, 1<<31)),
		EndsWithin:    r.duration("endsWithin", f.EndsWithin, defaultEndsWithin, time.Second, time.Hour),
		DeliverWithin: r.duration("deliverWithin", f.DeliverWithin, defaultDeliverWithin, time.Second, time.Hour),
	}
	if s.Name == "" || len(s.Name) > maxName || strings.ContainsFunc(s.Name, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '/'
	}) {
		r.bad("name", "a scenario has a name of 1 to %d visible ASCII characters, without a slash", maxName)
	}
	switch f.Arrivals {
	case "", "uniform":
	case "poisson":
		s.Poisson = true
	default:
		r.bad("arrivals", "%q is neither uniform nor poisson", f.Arrivals)
	}
	if f.Slow != nil {
		s.Slow = Slow{
			Sockets:        number(r, "slow.sockets", f.Slow.Sockets, 1, 1, MaxSockets),
			BytesPerSecond: number(r, "slow.bytesPerSecond", f.Slow.BytesPerSecond, 256, 1, 1<<20),
		}
	}
	for i, j := range f.Jobs {
		s.Jobs = append(s.Jobs, r.job(fmt.Sprintf("jobs[%d]", i), j))
	}
	for i, p := range f.Phases {
		s.Phases = append(s.Phases, r.phase(fmt.Sprintf("phases[%d]", i), p, i))
	}
	r.whole(s)
	return s
}

func (r *reader) job(path string, j jobs) Job {
	out := Job{
		Name: j.Name, Type: j.Job, Key: j.Key, Watch: j.Watch == nil || *j.Watch, Ends: job.State(j.Ends),
		Weight:   number(r, path+".weight", j.Weight, 1, 0, 1e6),
		Watchers: number(r, path+".watchers", j.Watchers, 0, 0, MaxSockets),
		Get:      r.share(path+".get", j.Get, 0),
		Stream:   r.share(path+".stream", j.Stream, 0),
		Output:   r.share(path+".output", j.Output, 0),
	}
	if out.Output > 0 && !out.Watch {
		r.bad(path+".output", "only who watches a job follows what it writes, and watch is false")
	}
	if out.Type == "" {
		r.bad(path+".job", "a job type is needed")
	}
	if out.Name == "" {
		out.Name = out.Type
	}
	if out.Ends != "" && !out.Ends.Terminal() {
		r.bad(path+".ends", "%q is not completed, failed or cancelled", out.Ends)
	}
	payload, err := json.Marshal(j.Payload)
	if err != nil {
		r.bad(path+".payload", "cannot be written as JSON: %v", err)
	}
	out.Payload = payload
	if out.Type == demo.Write && err == nil {
		if out.Words, err = demo.Words(payload); err != nil {
			r.bad(path+".payload", "%v", err)
		}
	}
	return out
}

func (r *reader) phase(path string, p phase, i int) Phase {
	out := Phase{
		Name: p.Name, Measured: p.Measured == nil || *p.Measured,
		Duration: r.duration(path+".duration", p.Duration, 0, time.Millisecond, MaxDuration),
	}
	if p.Duration == "" {
		r.bad(path+".duration", "is missing")
	}
	if p.Rate == "" {
		r.bad(path+".rate", "is missing (0 is a rate)")
	}
	out.From, out.To = r.rate(path+".rate", p.Rate)
	if out.Name == "" {
		out.Name = fmt.Sprintf("phase %d", i+1)
	}
	if c := p.Reconnect; c != nil {
		out.Reconnect = &Reconnect{
			At:    r.duration(path+".reconnect.at", c.At, 0, 0, out.Duration),
			Over:  r.duration(path+".reconnect.over", c.Over, 2*time.Second, 0, time.Hour),
			Share: r.share(path+".reconnect.share", c.Share, 1),
		}
	}
	return out
}

// whole checks rules that concern several parts of the file.
func (r *reader) whole(s *Scenario) {
	if n := len(s.Jobs); n < 1 || n > MaxJobs {
		r.bad("jobs", "1 to %d kinds of jobs are needed, not %d", MaxJobs, n)
	}
	if n := len(s.Phases); n < 1 || n > MaxPhases {
		r.bad("phases", "1 to %d phases are needed, not %d", MaxPhases, n)
	}
	names := map[string]bool{}
	for i, j := range s.Jobs {
		if names[j.Name] {
			r.bad(fmt.Sprintf("jobs[%d].name", i), "%q is there twice", j.Name)
		}
		names[j.Name] = true
	}
	if len(r.problems) > 0 {
		return
	}
	if err := s.bounds(); err != nil {
		p := err.(boundError)
		r.bad(p.path, "%s", p.text)
	}
}

// boundError is the error of a scenario as a whole; path is the key that it concerns.
type boundError struct{ path, text string }

// Error implements error.
func (e boundError) Error() string { return e.path + ": " + e.text }

// bounds checks the bounds that scaling may exceed.
func (s *Scenario) bounds() error {
	var weight float64
	for i, j := range s.Jobs {
		weight += j.Weight
		if j.Watchers > s.Sockets-1 {
			return boundError{
				fmt.Sprintf("jobs[%d].watchers", i),
				fmt.Sprintf("%d other clients are needed, there are %d", j.Watchers, s.Sockets-1),
			}
		}
		if j.Watchers > 0 && s.Tenants > 1 {
			return boundError{
				fmt.Sprintf("jobs[%d].watchers", i),
				"a job's watchers are of its tenant: with watchers, tenants must be 1",
			}
		}
	}
	switch {
	case weight <= 0:
		return boundError{"jobs", "the weights add up to nothing"}
	case s.Slow.Sockets >= s.Sockets:
		return boundError{"slow.sockets", fmt.Sprintf("of %d clients one at least must not be slow", s.Sockets)}
	case s.Sockets > MaxSockets:
		return boundError{"sockets", fmt.Sprintf("%d are above the bound of %d", s.Sockets, MaxSockets)}
	case s.Duration() > MaxDuration:
		return boundError{"phases", fmt.Sprintf("they take %v, the bound is %v", s.Duration(), MaxDuration)}
	}
	for i, p := range s.Phases {
		if max(p.From, p.To) > MaxRate {
			return boundError{
				fmt.Sprintf("phases[%d].rate", i), fmt.Sprintf("%g is above the bound of %d", max(p.From, p.To), MaxRate),
			}
		}
	}
	return nil
}
