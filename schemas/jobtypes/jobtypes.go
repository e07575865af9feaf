// Package jobtypes reads the file that declares the job types and their rules. The rules of a job are part of its
// request, so of all services only gateways need the file. A worker that has it too can check the results of its
// handlers:
//
//	types, err := jobtypes.Load("jobtypes.yaml")
//	w, err := processor.New(cfg, processor.WithResultCheck(types.CheckResult))
package jobtypes

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// maxPayload bounds the maxPayload of a type, in bytes. A payload above the gateway's frame limit can only be submitted
// over HTTP, and one above the limit for Kafka is stored in the blob store.
const maxPayload = 64 << 20

//go:embed default.yaml
var defaultFile []byte

// Type is one job type.
type Type struct {
	Name       string     // such as "report.generate"
	Lane       string     // the lane that its jobs wait in
	Policy     job.Policy // what every job of the type is given
	MaxPayload int        // the largest payload, in bytes

	// StreamLimit and StreamRate bound what a run may write to its streams, in bytes and in bytes per second; 0 if the
	// worker's own settings do. Workers that have the file apply them.
	StreamLimit, StreamRate int

	payload, result *schema
}

// PayloadSchema returns the JSON Schema of the type's payloads, as encoding/json decodes it with UseNumber; nil if
// there is none. The caller must not change it.
func (t *Type) PayloadSchema() any { return t.payload.definition() }

// ResultSchema returns the JSON Schema of the type's results, as PayloadSchema does; nil when there is none.
func (t *Type) ResultSchema() any { return t.result.definition() }

// Set is every job type, by name.
type Set map[string]*Type

// Lanes returns the lanes of all types and the lane of webhooks, sorted.
func (s Set) Lanes() []string {
	lanes := []string{topic.WebhookLane}
	for _, t := range s {
		lanes = append(lanes, t.Lane)
	}
	slices.Sort(lanes)
	return slices.Compact(lanes)
}

// MaxPayload returns the largest MaxPayload of all types, in bytes.
func (s Set) MaxPayload() int {
	largest := 0
	for _, t := range s {
		largest = max(largest, t.MaxPayload)
	}
	return largest
}

// StreamLimits returns the StreamLimit and the StreamRate of a job type; 0 if the file does not set them. It is for
// processor.WithStreamLimits.
func (s Set) StreamLimits(jobType string) (total, perSecond int64) {
	t := s[jobType]
	if t == nil {
		return 0, 0
	}
	return int64(t.StreamLimit), int64(t.StreamRate)
}

// Bounds of streamLimit, in bytes, and of streamRate, in bytes per second.
const (
	maxStreamLimit = 1 << 30
	minStreamRate  = 1 << 10
	maxStreamRate  = 64 << 20
)

// rules are the settings of a type, or of the defaults.
type rules struct {
	Lane             *string   `yaml:"lane"`
	Schema           any       `yaml:"schema"`
	SchemaFile       string    `yaml:"schemaFile"`
	ResultSchema     any       `yaml:"resultSchema"`
	ResultSchemaFile string    `yaml:"resultSchemaFile"`
	Attempts         *count    `yaml:"attempts"`
	Backoff          *backoff  `yaml:"backoff"`
	Lease            *duration `yaml:"lease"`
	Timeout          *duration `yaml:"timeout"`
	Deadline         *duration `yaml:"deadline"`
	Grace            *duration `yaml:"grace"`
	Retention        *duration `yaml:"retention"`
	MaxPayload       *count    `yaml:"maxPayload"`
	StreamLimit      *count    `yaml:"streamLimit"`
	StreamRate       *count    `yaml:"streamRate"`
}

type backoff struct {
	Initial *duration `yaml:"initial"`
	Factor  *float64  `yaml:"factor"`
	Cap     *duration `yaml:"cap"`
}

// duration is a text such as "30s" or "5m", or a number of seconds. An invalid value is kept as err, so that it is
// reported with its line and together with all other problems.
type duration struct {
	value job.Seconds
	err   error
}

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (d *duration) UnmarshalYAML(b []byte) error {
	text := scalar(b)
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		d.value, d.err = job.SecondsOf(f)
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		d.err = fmt.Errorf("%q is not a duration such as 30s, 5m or 2h, nor a number of seconds", text)
		return nil
	}
	d.value = job.Seconds(v)
	d.err = d.value.Validate()
	return nil
}

// count is a whole number. An invalid value is kept as err, as in duration.
type count struct {
	value int
	err   error
}

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (c *count) UnmarshalYAML(b []byte) error {
	var err error
	if c.value, err = strconv.Atoi(scalar(b)); err != nil {
		c.err = fmt.Errorf("%q is not a whole number", scalar(b))
	}
	return nil
}

func scalar(b []byte) string { return strings.Trim(strings.TrimSpace(string(b)), `"'`) }

// Default returns the built-in types.
func Default() Set {
	set, err := parse("default.yaml", defaultFile)
	if err != nil {
		panic(err) // cannot happen: the file is part of the program, and tested
	}
	return set
}

// Load reads a file. If name is empty it returns the built-in types. The error lists every
// problem with its line.
func Load(name string) (Set, error) {
	if name == "" {
		return Default(), nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("job types: %w", err)
	}
	return parse(name, b)
}

func parse(name string, b []byte) (Set, error) {
	var file struct {
		Defaults rules            `yaml:"defaults"`
		Types    map[string]rules `yaml:"types"`
	}
	if err := yaml.UnmarshalWithOptions(b, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false))))
	}
	tree, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, doc := range tree.Docs[min(1, len(tree.Docs)):] {
		if doc.Body != nil {
			return nil, fmt.Errorf("%s:%d: a second YAML document, which would be ignored", name,
				doc.Body.GetToken().Position.Line)
		}
	}
	if len(file.Types) == 0 {
		return nil, fmt.Errorf("%s:%d: types: at least one job type is needed", name, line(tree, "", "types"))
	}
	set := Set{}
	var problems []error
	for typeName, r := range file.Types {
		t, errs := build(typeName, r, file.Defaults, filepath.Dir(name))
		for _, p := range errs {
			problems = append(problems, fmt.Errorf("%s:%d: %s: %w", name, line(tree, typeName, p.key), typeName, p.err))
		}
		set[typeName] = t
	}
	if len(problems) > 0 {
		slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(problems...)
	}
	return set, nil
}

// problem is an error in one key of a type.
type problem struct {
	key string
	err error
}

const (
	minLease     = time.Second
	maxNameChars = 128

	defaultAttempts = 3
	defaultInitial  = time.Second
	defaultFactor   = 2
	defaultCap      = time.Minute
	defaultLease    = 30 * time.Second
	defaultGrace    = 10 * time.Second
	defaultRetain   = 24 * time.Hour
)

// build makes a type from its own rules, the file's defaults and the built-in defaults, in this order of precedence,
// and checks all of it. Schema files are relative to dir.
func build(name string, own, defaults rules, dir string) (*Type, []problem) {
	var problems []problem
	bad := func(key, format string, args ...any) {
		problems = append(problems, problem{key, fmt.Errorf("%s: "+format, append([]any{key}, args...)...)})
	}
	seconds := func(key string, own, defaults *duration, otherwise time.Duration) job.Seconds {
		d := first(own, defaults, duration{value: job.Seconds(otherwise)})
		if d.err != nil {
			bad(key, "%w", d.err)
			return job.Seconds(otherwise)
		}
		return d.value
	}
	whole := func(key string, own, defaults *count, otherwise int) int {
		c := first(own, defaults, count{value: otherwise})
		if c.err != nil {
			bad(key, "%w", c.err)
			return otherwise
		}
		return c.value
	}
	ownBackoff, defaultBackoff := or(own.Backoff), or(defaults.Backoff)
	t := &Type{
		Name:       name,
		Lane:       first(own.Lane, defaults.Lane, "default"),
		MaxPayload: whole("maxPayload", own.MaxPayload, defaults.MaxPayload, frame.MaxFrameBytes),

		StreamLimit: whole("streamLimit", own.StreamLimit, defaults.StreamLimit, 0),
		StreamRate:  whole("streamRate", own.StreamRate, defaults.StreamRate, 0),
		Policy: job.Policy{
			Attempts: whole("attempts", own.Attempts, defaults.Attempts, defaultAttempts),
			Backoff: job.Backoff{
				Initial: seconds("backoff.initial", ownBackoff.Initial, defaultBackoff.Initial, defaultInitial),
				Factor:  first(ownBackoff.Factor, defaultBackoff.Factor, defaultFactor),
				Cap:     seconds("backoff.cap", ownBackoff.Cap, defaultBackoff.Cap, defaultCap),
			},
			Lease:     seconds("lease", own.Lease, defaults.Lease, defaultLease),
			Timeout:   seconds("timeout", own.Timeout, defaults.Timeout, 0),
			Deadline:  seconds("deadline", own.Deadline, defaults.Deadline, 0),
			Grace:     seconds("grace", own.Grace, defaults.Grace, defaultGrace),
			Retention: seconds("retention", own.Retention, defaults.Retention, defaultRetain),
		},
	}
	p := t.Policy
	if name == "" || len(name) > maxNameChars || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~'
	}) {
		bad("type", "a name is 1 to %d visible ASCII characters", maxNameChars)
	}
	if strings.HasPrefix(name, topic.ReservedType) {
		bad("type", "names that begin with %s are Ackwire's own", topic.ReservedType)
	}
	switch t.Lane {
	case topic.WebhookLane:
		bad("lane", "%s is the lane of webhooks", t.Lane)
	case topic.BulkLane:
		bad("lane", "%s is the lane of bulk actions", t.Lane)
	}
	if !topic.ValidLane(t.Lane) {
		bad("lane", "%q is not a lane name (a-z 0-9 - _, at most 63)", t.Lane)
	}
	if p.Attempts < 1 || p.Attempts > job.MaxAttempts {
		bad("attempts", "must be 1 to %d, not %d", job.MaxAttempts, p.Attempts)
	}
	if !(p.Backoff.Factor >= 1 && p.Backoff.Factor <= job.MaxBackoffFactor) { // refuses NaN too
		bad("backoff.factor", "must be 1 to %d, not %v", job.MaxBackoffFactor, p.Backoff.Factor)
	}
	if p.Lease.Duration() < minLease {
		bad("lease", "must be at least %s, not %s", minLease, p.Lease.Duration())
	}
	if p.Retention.Duration() < minLease {
		bad("retention", "must be at least %s, not %s", minLease, p.Retention.Duration())
	}
	if t.MaxPayload < 1 || t.MaxPayload > maxPayload {
		bad("maxPayload", "must be 1 to %d bytes, not %d", maxPayload, t.MaxPayload)
	}
	if t.StreamLimit < 0 || t.StreamLimit > maxStreamLimit {
		bad("streamLimit", "must be 1 to %d bytes, or 0 for the worker's own, not %d", maxStreamLimit, t.StreamLimit)
	}
	if t.StreamRate != 0 && (t.StreamRate < minStreamRate || t.StreamRate > maxStreamRate) {
		bad("streamRate", "must be %d to %d bytes per second, or 0 for the worker's own, not %d", minStreamRate,
			maxStreamRate, t.StreamRate)
	}
	compiled := func(key string, own, defaults source) *schema {
		s := own
		if s.none() {
			s = defaults
		}
		schema, err := s.compile(dir, key)
		if err != nil {
			if s.inline == nil {
				key += "File"
			}
			bad(key, "%w", err)
		}
		return schema
	}
	t.payload = compiled("schema", source{own.Schema, own.SchemaFile}, source{defaults.Schema, defaults.SchemaFile})
	t.result = compiled("resultSchema", source{own.ResultSchema, own.ResultSchemaFile},
		source{defaults.ResultSchema, defaults.ResultSchemaFile})
	return t, problems
}

func first[T any](own, defaults *T, otherwise T) T {
	switch {
	case own != nil:
		return *own
	case defaults != nil:
		return *defaults
	}
	return otherwise
}

func or(b *backoff) backoff {
	if b == nil {
		return backoff{}
	}
	return *b
}

// line returns the line of a key of a type in the file: of the type's own key, else of the default, else of the type.
func line(tree *ast.File, typeName, key string) int {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }
	for _, path := range []string{"$.types." + quote(typeName) + "." + key, "$.defaults." + key,
		"$.types." + quote(typeName), "$.types"} {
		p, err := yaml.PathString(path)
		if err != nil {
			continue
		}
		node, err := p.FilterFile(tree)
		if err == nil && node != nil && node.GetToken() != nil {
			return node.GetToken().Position.Line
		}
	}
	return 1
}
